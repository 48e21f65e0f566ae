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

// x + attention(norm(x)), then x + mlp(norm(x)).
class PreNormBlock final : public nn::ModuleOf<PreNormBlock> {
 public:
  // Throws Error(Argument) for sizes that do not fit together.
  explicit PreNormBlock(const PreNormBlockOptions& options);
  // x [batch, time, dim] to the same.
  Tensor forward(const Tensor& x, const nn::AttentionInputs& inputs = {});

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

  // Runs each block's forward pass again in backward rather than keep what it computed.
  void set_activation_checkpointing(bool on) { checkpointing_ = on; }

 private:
  std::vector<nn::Handle<PreNormBlock>> blocks_;
  bool checkpointing_ = false;
};

}  // namespace plinth
