#pragma once

// GPT-2 (Radford et al. 2019, "Language models are unsupervised multitask learners"): transformer
// blocks with layer norm before each part, GELU, and learned positions.

#include <memory>
#include <string>
#include <vector>

#include "models/gpt2/config.h"
#include "models/language_model.h"

namespace plinth {

// x + attention(norm(x)), then x + mlp(norm(x)).
class Gpt2Block : public nn::ModuleOf<Gpt2Block> {
 public:
  explicit Gpt2Block(const Gpt2Config& config);
  // x [batch, time, dim] to the same.
  Tensor forward(const Tensor& x, nn::KVCache* cache);

 private:
  nn::Handle<nn::LayerNorm> attention_norm_;
  nn::Handle<nn::MultiHeadAttention> attention_;
  nn::Handle<nn::Dropout> dropout_;
  nn::Handle<nn::LayerNorm> mlp_norm_;
  nn::Handle<nn::MLP> mlp_;
};

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
  Tensor forward_block(int64_t i, const Tensor& x, nn::KVCache* cache, Tensor* load) override;

 private:
  Gpt2Config config_;
  LanguageModelInfo info_;
  nn::Handle<nn::Embedding> token_embedding_;
  nn::Handle<nn::Embedding> position_embedding_;
  nn::Handle<nn::Dropout> dropout_;
  std::vector<nn::Handle<Gpt2Block>> blocks_;
  nn::Handle<nn::LayerNorm> norm_;
  Tensor head_weight_;  // [vocab_size, dim]
};

}  // namespace plinth
