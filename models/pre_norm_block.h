#pragma once

// The transformer block with layer norm before each part that GPT-2, ViT and CLIP share, and blocks
// one after the other.

#include <functional>
#include <vector>

#include "nn/layers.h"
#include "nn/module.h"

namespace plinth {

struct PreNormBlockOptions {
  int64_t dim = 0;
  int64_t heads = 1;
  int64_t ffn_dim = 0;
  bool causal = false;
  bool qkv_bias = true;
  GeluForm gelu = GeluForm::Exact;
  double norm_eps = 1e-5;
  double dropout = 0;            // of what each part adds
  double attention_dropout = 0;  // of attention weights
  nn::Initializer qkv_init = {}, out_init = {}, up_init = {}, down_init = {};  // biases are 0
};

// x + attention(norm(x)), then x + mlp(norm(x)), of which the last sum is left to who reads it.
class PreNormBlock final : public nn::ModuleOf<PreNormBlock> {
 public:
  // Throws Error(Argument) for sizes that do not fit together.
  explicit PreNormBlock(const PreNormBlockOptions& options);
  // x [batch, time, dim] to the same, or to its first inputs.queries tokens.
  nn::Residual forward(const nn::Residual& x, const nn::AttentionInputs& inputs = {});

 private:
  nn::Handle<nn::LayerNorm> attention_norm_;
  nn::Handle<nn::MultiHeadAttention> attention_;
  nn::Handle<nn::Dropout> dropout_;
  nn::Handle<nn::LayerNorm> mlp_norm_;
  nn::Handle<nn::MLP> mlp_;
};

// Blocks named "block0", "block1", ...: x [batch, time, dim] to the same.
class PreNormStack final : public nn::Layer {
 public:
  // Throws what PreNormBlock does.
  PreNormStack(int64_t layers, const PreNormBlockOptions& options);
  Tensor forward(const Tensor& x) override;
  // The same, but what block i gives is handed on as change(it, i); the last block's, too.
  Tensor forward(const Tensor& x, const std::function<Tensor(const Tensor&, int64_t)>& change);
  // The first `count` tokens of what forward() gives, for whoever reads no others: the last block
  // computes these alone. Throws Error(Argument) unless there are so many, or for causal blocks.
  Tensor first_tokens(const Tensor& x, int64_t count);

  // Runs each block's forward pass again in backward rather than keep what it computed.
  void set_activation_checkpointing(bool on) { checkpointing_ = on; }

 private:
  nn::Residual run(const nn::Handle<PreNormBlock>& block, const nn::Residual& x,
                   int64_t queries = 0) const;
  // All of them, the last for its first `queries` tokens alone; 0: for all.
  Tensor run_all(const Tensor& x, int64_t queries) const;

  std::vector<nn::Handle<PreNormBlock>> blocks_;
  bool checkpointing_ = false;
};

}  // namespace plinth
