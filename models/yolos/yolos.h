#pragma once

// YOLOS (Fang et al. 2021, arXiv 2106.00666): a ViT that finds objects. Learned tokens behind the
// patches each become a class, or none, and a box.

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/pre_norm_block.h"
#include "models/vision/image_embedding.h"
#include "models/vision/image_model.h"
#include "models/yolos/config.h"

namespace plinth {

// Embedding, blocks and the norm behind them.
class YolosEncoder final : public nn::ModuleOf<YolosEncoder> {
 public:
  // Throws Error(Argument) for sizes that do not fit together.
  explicit YolosEncoder(const YolosConfig& config);

  // pixels [images, channels, height, width] to [images, 1 + patches + detection_tokens, dim].
  // Throws what ImageEmbedding::patches() does.
  Tensor forward(const Tensor& pixels, bool interpolate = false);
  PreNormStack& blocks() { return *blocks_; }

 private:
  nn::Handle<ImageEmbedding> embedding_;
  nn::Handle<nn::Dropout> dropout_;
  nn::Handle<PreNormStack> blocks_;
  nn::Handle<nn::LayerNorm> norm_;
  Tensor mid_position_;  // [layers - 1, 1, 1 + patches + detection_tokens, dim], or undefined
};

// Three linear layers with ReLU between: x [..., dim] to [..., out].
class YolosHead final : public nn::Layer {
 public:
  YolosHead(int64_t dim, int64_t out);
  Tensor forward(const Tensor& x) override;

 private:
  std::array<nn::Handle<nn::Linear>, 3> layers_;
};

// transformers' YolosForObjectDetection.
class Yolos final : public ImageModel {
 public:
  // Throws Error(Argument) for no label, and for sizes that do not fit together.
  explicit Yolos(const YolosConfig& config);

  const YolosConfig& config() const { return config_; }
  // What each detection token says of pixels [images, channels, height, width], normalised as the
  // model wants them. With `interpolate` images may have another size than config().image_size.
  // Throws Error(Shape).
  SetPrediction forward(const Tensor& pixels, bool interpolate = false);
  // set_loss() of config().loss. Throws what forward() and set_loss() do.
  Tensor loss(const Tensor& pixels, const SetTargets& targets, bool interpolate = false);

  // Runs each block's forward pass again in backward rather than keep what it computed.
  void set_activation_checkpointing(bool on) {
    encoder_->blocks().set_activation_checkpointing(on);
  }

  std::string_view type() const override { return "yolos"; }
  std::vector<std::pair<std::string, std::string>> description() const override;
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 private:
  YolosConfig config_;
  nn::Handle<YolosEncoder> encoder_;
  nn::Handle<YolosHead> classes_, boxes_;
};

// A detector of these labels that begins with the encoder of `pretrained`: another detector, whose
// sizes `config` has, or a ViT or masked autoencoder, which has neither detection tokens nor, where
// config.mid_positions, positions between blocks. What it lacks, and the heads, are drawn from the
// seed. Throws Error(Argument) for no label, Error(Shape) for an encoder of other sizes.
std::unique_ptr<Yolos> make_detector(const nn::Module& pretrained, YolosConfig config,
                                     std::vector<std::string> labels, uint64_t seed);

}  // namespace plinth
