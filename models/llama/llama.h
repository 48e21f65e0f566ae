#pragma once

// Llama (Touvron et al. 2023, arXiv 2302.13971; Llama Team 2024, arXiv 2407.21783): transformer
// blocks with RMS norm before each part, rotary positions, grouped keys and values, and SwiGLU.

#include <memory>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "models/llama/config.h"

namespace plinth {

// x + attention(norm(x)), then x + mlp(norm(x)).
class LlamaBlock : public nn::ModuleOf<LlamaBlock> {
 public:
  explicit LlamaBlock(const LlamaConfig& config);
  // x [batch, time, dim] to the same; the table holds the rotations of all positions.
  Tensor forward(const Tensor& x, const RopeTable& rotations, KVCache* cache);

 private:
  Tensor attention(const Tensor& x, const RopeTable& rotations, KVCache* cache) const;
  Tensor mlp(const Tensor& x) const;

  LlamaConfig config_;
  Tensor norm1_;
  Tensor qkv_;     // [(heads + 2 kv_heads) head_dim, dim]: queries, keys, values
  Tensor output_;  // [dim, heads head_dim]
  Tensor norm2_;
  Tensor gate_up_;  // [2 ffn_dim, dim]
  Tensor down_;     // [dim, ffn_dim]
};

class Llama : public LanguageModel {
 public:
  explicit Llama(const LlamaConfig& config);

  const LlamaConfig& config() const { return config_; }
  const LanguageModelInfo& info() const override { return info_; }
  Tensor hidden(const Tensor& ids, KVCaches* caches = nullptr) override;
  const Tensor& head_weight() const override { return head_weight_; }
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 private:
  // Makes the table in the dtype in which activations of `dtype` are rotated.
  void prepare_rotations(DType dtype);

  LlamaConfig config_;
  LanguageModelInfo info_;
  RopeTable rotations_;     // made when first needed
  Tensor token_embedding_;  // [vocab_size, dim]
  std::vector<nn::Handle<LlamaBlock>> blocks_;
  Tensor norm_;
  Tensor head_weight_;  // [vocab_size, dim]
};

}  // namespace plinth
