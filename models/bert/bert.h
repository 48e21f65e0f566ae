#pragma once

// BERT (Devlin et al. 2019, arXiv 1810.04805): transformer blocks with layer norm behind each part,
// in which every token sees all others, GELU, learned positions and segments.

#include <memory>
#include <string>
#include <vector>

#include "models/bert/config.h"
#include "models/language_model.h"

namespace plinth {

// What a BERT is given besides ids [batch, time].
struct BertInputs {
  Tensor segments = {};  // int64 [batch, time], of a pair of sentences; left out: all 0
  Tensor lengths = {};   // int64 [batch]: tokens from there on are padding, which no token sees
};

// y = norm(x + attention(x)), then norm(y + mlp(y)).
class BertBlock : public nn::ModuleOf<BertBlock> {
 public:
  explicit BertBlock(const BertConfig& config);
  // x [batch, time, dim] to the same.
  Tensor forward(const Tensor& x, const Tensor& lengths);

 private:
  nn::Handle<nn::MultiHeadAttention> attention_;
  nn::Handle<nn::Dropout> dropout_;
  nn::Handle<nn::LayerNorm> attention_norm_;
  nn::Handle<nn::MLP> mlp_;
  nn::Handle<nn::LayerNorm> mlp_norm_;
};

// norm(gelu(dense(x))): what stands between the last block and the output projection.
class BertTransform final : public nn::Layer {
 public:
  explicit BertTransform(const BertConfig& config);
  Tensor forward(const Tensor& x) override;

 private:
  GeluForm gelu_;
  nn::Handle<nn::Linear> dense_;
  nn::Handle<nn::LayerNorm> norm_;
};

class Bert : public LanguageModel {
 public:
  explicit Bert(const BertConfig& config);

  const BertConfig& config() const { return config_; }
  const LanguageModelInfo& info() const override { return info_; }

  // The last block's output [batch, time, dim]. Throws what embed() does, Error(Shape) for segments
  // and lengths that do not go with the ids.
  Tensor encode(const Tensor& ids, const BertInputs& inputs = {});
  // tanh(dense(.)) of each sequence's first token: x [batch, time, dim] of encode() to [batch,
  // dim]. Throws Error(Argument) where there is no pooler.
  Tensor pool(const Tensor& x);
  // Logits [batch, 2] of pool()'s result: 0 where the second sentence follows the first. Throws
  // Error(Argument) without the part.
  Tensor next_sentence(const Tensor& pooled);
  // The mean cross-entropy of masked tokens, targets [batch, time] that are not -100, and that of
  // next_sentence() against labels int64 [batch], together.
  Tensor pretraining_loss(const Tensor& ids, const BertInputs& inputs, const Tensor& targets,
                          const Tensor& labels);

  // Of encode()'s result, for head(). Throws Error(Argument) without the masked-LM head.
  Tensor finish(const Tensor& x) override;
  nn::Module& block(int64_t i) override { return *blocks_.at(static_cast<size_t>(i)); }
  Tensors last_parameters() const override;
  const Tensor& head_weight() const override { return head_weight_; }
  Tensor head_bias() const override { return head_bias_; }
  std::unique_ptr<LanguageModel> trained_parts() const override;
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;
  // Those of the embeddings, blocks and pooler, below `prefix` in the file and `path` here.
  std::vector<WeightSlice> encoder_slices(const std::string& prefix, const std::string& path) const;

 protected:
  Tensor embed_ids(const Tensor& ids, int64_t before) override;
  nn::Residual forward_block(int64_t i, const nn::Residual& x, nn::KVCache* cache,
                             Tensor* load) override;

 private:
  // The first block's input of what the tables give: tokens [batch, time, dim], and segments that
  // broadcast to it.
  Tensor embed_tokens(const Tensor& tokens, const Tensor& segments);

  BertConfig config_;
  LanguageModelInfo info_;
  nn::Handle<nn::Embedding> token_embedding_, position_embedding_, segment_embedding_;
  nn::Handle<nn::LayerNorm> embedding_norm_;
  nn::Handle<nn::Dropout> dropout_;
  std::vector<nn::Handle<BertBlock>> blocks_;
  nn::Handle<nn::Linear> pooler_, next_sentence_;
  nn::Handle<BertTransform> transform_;
  Tensor head_weight_;  // [vocab_size, dim]
  Tensor head_bias_;    // [vocab_size]
};

}  // namespace plinth
