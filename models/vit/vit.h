#pragma once

// The vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929): patches of an image as tokens
// of a transformer with layer norm before each part, in which all see each other.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/pre_norm_block.h"
#include "models/vision/image_embedding.h"
#include "models/vision/image_model.h"
#include "models/vit/config.h"

namespace plinth {

// In what the embeddings of relatives differ.
struct ViTEmbeddingOptions {
  double dropout = 0;  // of the tokens before the first block
  bool fixed_positions = false;
  nn::Initializer patch_init = {}, class_init = {}, position_init = {};
};

// Embedding, blocks and the norm behind them.
class ViTEncoder final : public nn::ModuleOf<ViTEncoder> {
 public:
  // Throws Error(Argument) for sizes that do not fit together.
  ViTEncoder(const ViTConfig& config, const ViTEmbeddingOptions& options);

  // pixels [batch, channels, height, width] to [batch, 1 + patches, dim], the class token first.
  // Throws what ImageEmbedding::patches() does.
  Tensor forward(const Tensor& pixels, bool interpolate = false);
  // The same for patches [batch, count, dim] with their positions, which may be some of all.
  Tensor encode(const Tensor& patches);
  // The class token of forward(), [batch, dim]: the last block computes no other.
  Tensor class_token(const Tensor& pixels, bool interpolate = false);

  ImageEmbedding& embedding() { return *embedding_; }
  PreNormStack& blocks() { return *blocks_; }

 private:
  nn::Handle<ImageEmbedding> embedding_;
  nn::Handle<nn::Dropout> dropout_;
  nn::Handle<PreNormStack> blocks_;
  nn::Handle<nn::LayerNorm> norm_;
};

// The blocks of a ViT of this configuration.
PreNormBlockOptions vit_block_options(const ViTConfig& config);
// How a stack of `layers` blocks `dim` wide, at `path` here, lies below `prefix` in a file.
std::vector<WeightSlice> vit_block_slices(int64_t layers, int64_t dim, bool qkv_bias,
                                          const std::string& prefix, const std::string& path);
// How a ViTEncoder does, at `path` here.
std::vector<WeightSlice> vit_encoder_slices(const ViTConfig& config, const std::string& prefix,
                                            const std::string& path);
// The lines of ImageModel::description() that all relatives have.
std::vector<std::pair<std::string, std::string>> describe_vit(const ViTConfig& config);

// transformers' ViTModel, and ViTForImageClassification where there are labels.
class ViT final : public ImageModel {
 public:
  // Throws Error(Argument) for one label, and for sizes that do not fit together.
  explicit ViT(const ViTConfig& config);

  const ViTConfig& config() const { return config_; }
  // [batch, 1 + patches, dim] after the last norm, the class token first, for pixels [batch,
  // channels, height, width], normalised as the model wants them. With `interpolate` images may
  // have another size than config().image_size. Throws Error(Shape).
  Tensor encode(const Tensor& pixels, bool interpolate = false);
  // tanh(dense(.)) of the class token: x of encode() to [batch, pooler_dim]. Throws
  // Error(Argument) where there is no pooler.
  Tensor pool(const Tensor& x);
  // Logits [batch, labels]. Throws what encode() does, and Error(Argument) without a classifier.
  Tensor forward(const Tensor& pixels, bool interpolate = false);
  // Mean cross-entropy over `targets` int64 [batch] that are not -100. Throws what forward() does,
  // and Error(Shape) for other targets.
  Tensor loss(const Tensor& pixels, const Tensor& targets, bool interpolate = false);

  // Runs each block's forward pass again in backward rather than keep what it computed.
  void set_activation_checkpointing(bool on) {
    encoder_->blocks().set_activation_checkpointing(on);
  }

  std::string_view type() const override { return "vit"; }
  std::vector<std::pair<std::string, std::string>> description() const override;
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 private:
  ViTConfig config_;
  nn::Handle<ViTEncoder> encoder_;
  nn::Handle<nn::Linear> pooler_, head_;
};

// Gives `model` the encoder of `pretrained`, another model's state, and its dtype and device.
// Throws Error(Shape) for an encoder of other sizes.
void load_encoder(nn::Module& model, nn::StateDict pretrained);

// A classifier that begins with the encoder of `pretrained`, a ViT or a masked autoencoder, whose
// sizes `config` has; its head is drawn from the seed. Throws Error(Argument) for fewer than two
// labels, Error(Shape) for an encoder of other sizes.
std::unique_ptr<ViT> make_classifier(const nn::Module& pretrained, ViTConfig config,
                                     std::vector<std::string> labels, uint64_t seed);

}  // namespace plinth
