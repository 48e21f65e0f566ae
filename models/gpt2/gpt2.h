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
  Tensor forward(const Tensor& x, KVCache* cache);

 private:
  Tensor attention(const Tensor& x, KVCache* cache) const;
  Tensor mlp(const Tensor& x) const;

  Gpt2Config config_;
  Tensor norm1_weight_, norm1_bias_;
  Tensor qkv_weight_, qkv_bias_;              // [3 dim, dim]: queries, keys, values
  Tensor attention_weight_, attention_bias_;  // [dim, dim]
  Tensor norm2_weight_, norm2_bias_;
  Tensor up_weight_, up_bias_;      // [ffn_dim, dim]
  Tensor down_weight_, down_bias_;  // [dim, ffn_dim]
};

class Gpt2 : public LanguageModel {
 public:
  explicit Gpt2(const Gpt2Config& config);

  const Gpt2Config& config() const { return config_; }
  const LanguageModelInfo& info() const override { return info_; }
  Tensor hidden(const Tensor& ids, KVCaches* caches = nullptr) override;
  const Tensor& head_weight() const override { return head_weight_; }
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 private:
  Gpt2Config config_;
  LanguageModelInfo info_;
  Tensor token_embedding_;     // [vocab_size, dim]
  Tensor position_embedding_;  // [context, dim]
  std::vector<nn::Handle<Gpt2Block>> blocks_;
  Tensor norm_weight_, norm_bias_;
  Tensor head_weight_;  // [vocab_size, dim]
};

}  // namespace plinth
