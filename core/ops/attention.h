#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/tensor.h"
#include "kernels/philox.h"

namespace plinth {

namespace kernels::cpu {
struct CustomScore;
}

// Where q, k and v are parts of a larger attention, which several calls or ranks compute: what they
// draw for dropout is their part of the whole's.
struct AttentionPart {
  int64_t head = 0, query = 0, key = 0;  // of the whole, that of the first here
  int64_t queries = 0, keys = 0;         // of the whole; 0: as many as here
  // All parts have the same; left out: the next of generator().
  std::optional<kernels::PhiloxKey> random = {};
};

struct AttentionOptions {
  // With the last query beside the last key, so that it also serves a cache of earlier keys: query
  // i sees keys up to i + Tk - Tq.
  bool causal = false;
  // If positive, a query sees only the last `window` of the keys that causal leaves it, itself
  // included; without causal, keys nearer than `window` on either side.
  int64_t window = 0;
  double scale = 0;     // of the scores; 0 stands for 1 / sqrt(D)
  double soft_cap = 0;  // if positive, scores x become soft_cap tanh(x / soft_cap) (Gemma 2)
  // [H], float32 (float64 for q of float64), of which no gradient is given: slope h times the
  // distance of query and key, |i + Tk - Tq - j|, is subtracted from the scores of head h (ALiBi,
  // arXiv 2108.12409).
  Tensor alibi_slopes = {};
  // Added to the scores; broadcasts to [B, H, Tq, Tk], of q's dtype. Not with cu_seqlens.
  Tensor bias = {};
  // [H], float32 (float64 for q of float64): a logit of each head that takes weight in the softmax
  // and has no value (gpt-oss, arXiv 2508.10925).
  Tensor sinks = {};
  // int64 [B]: keys from kv_lengths[b] on are padding that no query sees. On q's GPU nobody waits
  // for them, and an error is told as core/index_check.h says.
  Tensor kv_lengths = {};
  // int64 [sequences + 1] each, from 0 to Tq and to Tk: with B = 1, sequences packed one after the
  // other that do not see each other.
  Tensor cu_seqlens_q = {}, cu_seqlens_k = {};
  // A mask or a change of scores of one's own, made for this shape (core/ops/attention_custom.h).
  std::shared_ptr<const kernels::cpu::CustomScore> custom = {};
  double dropout = 0;  // probability of dropping a weight; draws a key of generator() if positive
  AttentionPart part = {};  // with dropout, part.key is a multiple of 4
};

// Scaled dot-product attention, softmax(scale q k^T) v over the keys that a query sees, without
// ever holding the scores (Dao 2023, arXiv 2307.08691). q [B, H, Tq, D]; k, v [B, Hkv, Tk, D] with
// H a multiple of Hkv (query head h reads key/value head h / (H / Hkv)). A query that sees no key
// gives 0. D is at most 256 on a GPU. Any strides are taken without a copy if the elements of a
// head are adjacent.
//
// The result [B, H, Tq, D] lies in memory as [B, Tq, H, D], so that transpose(1, 2).flatten(2)
// moves nothing, and so do the gradients. q, k, v, bias and sinks are differentiable; a second
// derivative is refused.
//
// Errors: Shape, DType (one floating dtype, int64 lengths), Argument for lengths that do not fit,
// for a scale or soft cap that is neither 0 nor, as its reciprocal, a normal number of what kernels
// compute in (float32, float64 for float64), and for a dropout that is not below 1 as float32.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options = {});

struct AttentionResult {
  Tensor out, lse;
};

// The same, and lse [B, H, Tq]: the logarithm of the sum of each query's exponentials, its sink's
// among them; -inf for a query that sees no key. float32, or float64 for float64; differentiable.
// Parts of one softmax over different keys are joined by it.
AttentionResult attention_with_lse(const Tensor& q, const Tensor& k, const Tensor& v,
                                   const AttentionOptions& options = {});

struct AttentionGradients {
  Tensor dq, dk, dv;
};

// What keys k and values v, some of those that q sees, give to the gradients: out [B, H, Tq, D] and
// lse [B, H, Tq] are those of all keys together, dout is the gradient of out. Summed over all keys'
// parts they are the gradients of attention(). Without a graph. The options are those of the part's
// forward pass; with dropout they name the key, part.random, and neither bias nor sinks are taken.
AttentionGradients attention_gradients(const Tensor& dout, const Tensor& q, const Tensor& k,
                                       const Tensor& v, const Tensor& out, const Tensor& lse,
                                       const AttentionOptions& options = {});

// The weights themselves, before dropout, of chosen heads of q and rows of Tq only: the others are
// never computed. [B, heads.size(), rows.size(), Tk], float32, or float64 for float64; a query's
// weights sum to 1, less what its sink takes, and are 0 for keys that it does not see. It has no
// gradient: asking for one is an error. options.dropout is not used.
//
// Errors: those of attention; Argument for a head or row that is not there.
Tensor attention_weights(const Tensor& q, const Tensor& k, const AttentionOptions& options,
                         const std::vector<int64_t>& heads, const std::vector<int64_t>& rows);

}  // namespace plinth
