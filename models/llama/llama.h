#pragma once

// Llama (Touvron et al. 2023, arXiv 2302.13971; Llama Team 2024, arXiv 2407.21783): transformer
// blocks with RMS norm before each part, rotary positions, grouped keys and values, and SwiGLU; or,
// for Mixtral (models/mixtral/), several SwiGLUs a block, of which each token uses some.

#include <memory>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "models/llama/config.h"

namespace plinth {

// x + attention(norm(x)), then x + mlp(norm(x)), of which the last sum is left to who reads it.
class LlamaBlock : public nn::ModuleOf<LlamaBlock> {
 public:
  // The table holds the rotations of all positions.
  LlamaBlock(const LlamaConfig& config, const RopeTable& rotations);
  // x [batch, time, dim] to the same; with experts, `load` becomes their load, if it is given.
  nn::Residual forward(const nn::Residual& x, nn::KVCache* cache, Tensor* load = nullptr);

  // Null where the block has one MLP.
  nn::MixtureOfExperts* experts() const { return experts_.get(); }

 private:
  nn::Handle<nn::RMSNorm> attention_norm_;
  nn::Handle<nn::MultiHeadAttention> attention_;
  nn::Handle<nn::RMSNorm> mlp_norm_;
  nn::Handle<nn::GatedMLP> mlp_;  // or
  nn::Handle<nn::MixtureOfExperts> experts_;
};

class Llama : public LanguageModel {
 public:
  explicit Llama(const LlamaConfig& config);

  const LlamaConfig& config() const { return config_; }
  const LanguageModelInfo& info() const override { return info_; }
  Tensor finish(const Tensor& x) override { return norm_(x); }
  nn::Module& block(int64_t i) override { return *blocks_.at(static_cast<size_t>(i)); }
  Tensors last_parameters() const override;
  const Tensor& head_weight() const override { return head_weight_; }
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 protected:
  Tensor embed_ids(const Tensor& ids, int64_t before) override;
  nn::Residual forward_block(int64_t i, const nn::Residual& x, nn::KVCache* cache,
                             Tensor* load) override;

 private:
  LlamaConfig config_;
  LanguageModelInfo info_;
  nn::Handle<nn::Embedding> token_embedding_;
  std::vector<nn::Handle<LlamaBlock>> blocks_;
  nn::Handle<nn::RMSNorm> norm_;
  Tensor head_weight_;  // [vocab_size, dim]
};

}  // namespace plinth
