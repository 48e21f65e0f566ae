#pragma once

// GPT-2 (Radford et al. 2019, "Language models are unsupervised multitask learners"): transformer
// blocks with layer norm before each part, GELU, and learned positions.

#include <memory>
#include <string>
#include <vector>

#include "models/gpt2/config.h"
#include "models/language_model.h"
#include "models/pre_norm_block.h"

namespace plinth {

class Gpt2 : public LanguageModel {
 public:
  explicit Gpt2(const Gpt2Config& config);

  const Gpt2Config& config() const { return config_; }
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
  Gpt2Config config_;
  LanguageModelInfo info_;
  nn::Handle<nn::Embedding> token_embedding_;
  nn::Handle<nn::Embedding> position_embedding_;
  nn::Handle<nn::Dropout> dropout_;
  std::vector<nn::Handle<PreNormBlock>> blocks_;
  nn::Handle<nn::LayerNorm> norm_;
  Tensor head_weight_;  // [vocab_size, dim]
};

}  // namespace plinth
