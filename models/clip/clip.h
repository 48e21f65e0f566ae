#pragma once

// CLIP (Radford et al. 2021, arXiv 2103.00020): a transformer of images and one of texts, trained
// so that an image and its text lie near each other, each image further from the other texts.

#include <string>
#include <utility>
#include <vector>

#include "models/clip/config.h"
#include "models/pre_norm_block.h"
#include "models/vision/image_embedding.h"
#include "models/vision/image_model.h"

namespace plinth {

// Texts to vectors: causal blocks, read where a text ends.
class ClipTextTower final : public nn::ModuleOf<ClipTextTower> {
 public:
  explicit ClipTextTower(const ClipTextConfig& config);
  // ids int64 [batch, time] to [batch, dim]: the first end-of-text token's output. A row without
  // one is read at its first token, as transformers does.
  Tensor forward(const Tensor& ids);
  PreNormStack& blocks() { return *blocks_; }

 private:
  ClipTextConfig config_;
  nn::Handle<nn::Embedding> token_embedding_, position_embedding_;
  nn::Handle<PreNormStack> blocks_;
  nn::Handle<nn::LayerNorm> norm_;
};

// Images to vectors: a ViT with a norm before the blocks, read at its class token.
class ClipVisionTower final : public nn::ModuleOf<ClipVisionTower> {
 public:
  explicit ClipVisionTower(const ClipVisionConfig& config);
  // pixels [batch, channels, height, width] to [batch, dim].
  Tensor forward(const Tensor& pixels, bool interpolate);
  PreNormStack& blocks() { return *blocks_; }

 private:
  nn::Handle<ImageEmbedding> embedding_;
  nn::Handle<nn::LayerNorm> first_norm_;
  nn::Handle<PreNormStack> blocks_;
  nn::Handle<nn::LayerNorm> norm_;
};

// transformers' CLIPModel.
class Clip final : public ImageModel {
 public:
  // Throws Error(Argument) for sizes that do not fit together.
  explicit Clip(const ClipConfig& config);

  const ClipConfig& config() const { return config_; }
  // [images, projection_dim], of length 1, for pixels [images, channels, height, width]. With
  // `interpolate` images may have another size (ImageEmbedding::patches). Throws Error(Shape).
  Tensor image_features(const Tensor& pixels, bool interpolate = false);
  // [texts, projection_dim], of length 1, for ids int64 [texts, time]; what follows the first
  // end-of-text token changes nothing. Throws Error(Shape) for another shape or more than the
  // context, Error(Argument) for an id outside the vocabulary.
  Tensor text_features(const Tensor& ids);
  // Logits [images, texts]: cosines times exp(logit_scale), for features as above.
  Tensor similarity(const Tensor& images, const Tensor& texts) const;
  // The same of pixels and ids.
  Tensor forward(const Tensor& pixels, const Tensor& ids);
  // The mean of two cross-entropies of a batch of pairs: of each image's text among all texts, and
  // of each text's image among all images. Throws Error(Shape) unless there are as many texts as
  // images.
  Tensor loss(const Tensor& pixels, const Tensor& ids);

  // Keeps exp(logit_scale) at most 100, as the paper's training does (section 2.5).
  void limit_scale();

  // A classifier without training (section 3.1.4): for each class its prompts, ids int64 [prompts,
  // time]; gives [classes, projection_dim], the direction of the mean of each class's features.
  // similarity(image_features(pixels), that) are logits of the classes. Throws Error(Argument) for
  // no class, and what text_features() does.
  Tensor zero_shot_classes(const Tensors& prompts);

  // Runs each block's forward pass again in backward rather than keep what it computed.
  void set_activation_checkpointing(bool on);

  std::string_view type() const override { return "clip"; }
  std::vector<std::pair<std::string, std::string>> description() const override;
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 private:
  ClipConfig config_;
  nn::Handle<ClipTextTower> text_;
  nn::Handle<ClipVisionTower> vision_;
  nn::Handle<nn::Linear> text_projection_, vision_projection_;
  Tensor logit_scale_;  // []
};

}  // namespace plinth
