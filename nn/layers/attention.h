#pragma once

#include "core/ops/attention.h"
#include "core/ops/rope.h"
#include "nn/layers/kv_cache.h"
#include "nn/layers/linear.h"
#include "nn/layers/paged_kv_cache.h"
#include "nn/layers/share.h"
#include "nn/module.h"

namespace plinth::nn {

struct MultiHeadAttentionOptions {
  int64_t dim = 0;  // of x and of the result
  int64_t heads = 1;
  int64_t kv_heads = 0;     // 0: as many as heads; fewer is grouped-query (Ainslie et al. 2023)
  int64_t head_dim = 0;     // 0: dim / heads
  int64_t context_dim = 0;  // of what cross-attention reads; 0: dim
  // One matrix "qkv" [(heads + 2 kv_heads) head_dim, dim], its rows those of q, then k, then v, in
  // place of "q", "k", "v". Not for cross-attention.
  bool fused_qkv = true;
  bool qkv_bias = true;
  bool k_bias = true;  // false: of q and v alone, where qkv_bias; not with fused_qkv
  bool out_bias = true;

  bool causal = false;
  int64_t window = 0;   // if positive, how many keys a query sees (core/ops/attention.h)
  double scale = 0;     // of scores; 0: 1 / sqrt(head_dim)
  double soft_cap = 0;  // of scores, if positive (core/ops/attention.h)
  double dropout = 0;   // of attention weights, in training
  // Positions by distance: scores fall linearly with it, by alibi_slopes(heads). Self-attention.
  bool alibi = false;
  // A parameter "sinks" [heads], from 0: a logit of each head that takes weight and has no value.
  bool sinks = false;
  RopeTable rope = {};  // rotates q and k, if defined
  bool rope_interleaved = false;

  Initializer qkv_init = {};  // of weights; left out: Linear's
  Initializer q_init = {};    // of q's alone; left out: qkv_init; not with fused_qkv
  Initializer out_init = {};
  Initializer bias_init = {};
  TensorOptions options = {};
};

// What attention is given besides x.
struct AttentionInputs {
  // Cross-attention: keys and values are computed from context [batch, keys, context_dim].
  Tensor context = {};
  // Self-attention: x stands after the tokens that the cache holds, and is added to them.
  // Cross-attention: an empty cache is filled from context, a filled one used in its place.
  KVCache* cache = nullptr;
  // Self-attention, in place of `cache`: the rows of x stand after the tokens of the paged cache's
  // active sequences, each after its own.
  PagedKVCache* paged_cache = nullptr;
  Tensor positions = {};   // int64 [batch, T], for RoPE; left out: after the cache's tokens
  Tensor kv_lengths = {};  // int64 [batch]: keys from there on are padding
  // Self-attention: only the first so many tokens of x ask, of all; the result is theirs alone. 0:
  // every token. Not where a token's place among keys counts (causal, a window, ALiBi), nor with
  // any of the inputs above but positions and kv_lengths, or those below.
  int64_t queries = 0;
  // Added to the scaled scores: broadcasts to [batch, heads, T, keys]. Not with a paged cache or
  // packed sequences.
  Tensor bias = {};
  // int64 [sequences + 1]: with batch 1, sequences packed one after the other that do not see each
  // other. With RoPE, positions then have to be given.
  Tensor cu_seqlens = {};
};

// What ranks have of a layer that they share.
struct AttentionShare {
  // Of its heads: `heads` from `first_head` on, and the kv_heads that these read. 0: all.
  int64_t first_head = 0, heads = 0, kv_heads = 0;
  // Of the tokens of each sequence, and what stands in for attention() where that is not all.
  SequencePart tokens = {};
  std::function<Tensor(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions&)>
      attend = {};
};

// Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762):
//
//   q, k, v = x W_q^T + b_q, ... cut into heads;   out(softmax(scale q k^T + mask) v)
//
// x [batch, T, dim] to the same, by the fused attention op. Self-attention takes its scores among
// the tokens of x (and those in a cache), cross-attention between x and a context.
class MultiHeadAttention final : public ModuleOf<MultiHeadAttention> {
 public:
  explicit MultiHeadAttention(const MultiHeadAttentionOptions& options);

  // Throws Error(Shape) or Error(Argument) for inputs that do not fit each other, or the layer.
  Tensor forward(const Tensor& x, const AttentionInputs& inputs = {});

  // From now on computes this share; the parameters are cut by the caller. To be called once.
  void share(AttentionShare share);

  const MultiHeadAttentionOptions& options() const { return options_; }
  // An empty cache for this layer.
  KVCache make_cache(int64_t batch, int64_t capacity) const;
  // Likewise; of the options those of heads, dtype and device are this layer's.
  PagedKVCache make_paged_cache(PagedKVCacheOptions options) const;

 protected:
  void moved_to(Device device) override;

 private:
  struct Heads {
    Tensor q, k, v;  // [batch, tokens, heads, head_dim]; k and v undefined if a cache has them
  };

  void check_inputs(const Tensor& x, const AttentionInputs& inputs) const;
  void check_queries(const Tensor& x, const AttentionInputs& inputs) const;
  Heads project(const Tensor& x, const AttentionInputs& inputs) const;
  Tensor rotated(const Tensor& x, const AttentionInputs& inputs) const;
  Tensor attend(const Heads& heads, const AttentionInputs& inputs) const;
  Tensor attend_to_pages(const Heads& heads, PagedKVCache& cache) const;

  MultiHeadAttentionOptions options_;
  Handle<Linear> qkv_, q_, k_, v_, out_;
  Tensor alibi_slopes_, sinks_;
  AttentionShare share_;
};

// The slopes of ALiBi (Press et al., arXiv 2108.12409), float32 [heads]: 2^(-8 / n), 2^(-16 / n),
// ... for a power of two, n heads; for another number those of the largest power n below it, then
// every other one of 2 n. Throws Error(Argument) for less than one head.
Tensor alibi_slopes(int64_t heads);

}  // namespace plinth::nn
