#pragma once

// A ViT that says of every pixel what it is of, by a linear layer on its patches (Strudel et al.
// 2021, arXiv 2105.05633, section 3.2, "Segmenter" with its linear decoder).

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/segmenter/config.h"
#include "models/vision/image_model.h"
#include "models/vit/vit.h"

namespace plinth {

class Segmenter final : public ImageModel {
 public:
  // Throws Error(Argument) for fewer than two labels, an image_size that is no multiple of
  // patch_size, and for sizes that do not fit together.
  explicit Segmenter(const SegmenterConfig& config);

  const SegmenterConfig& config() const { return config_; }
  // Logits of the patches, [images, labels, rows, columns], for pixels [images, channels, height,
  // width], normalised as the model wants them; bilinear() brings them to the size of an image.
  // Throws Error(Shape) for another size than config().vit.image_size.
  Tensor forward(const Tensor& pixels);
  // Mean cross-entropy of pixels, whose logits are those of the patches by bilinear interpolation,
  // against masks int64 [images, height, width]. Pixels that are kIgnoredPixel do not count. Throws
  // what forward() does, Error(Shape) for other masks, Error(Argument) for a class that there is
  // not.
  Tensor loss(const Tensor& pixels, const Tensor& masks);
  Tensor loss_of(const Tensor& logits, const Tensor& masks) const;  // of what forward() gave

  // Runs each block's forward pass again in backward rather than keep what it computed.
  void set_activation_checkpointing(bool on) {
    encoder_->blocks().set_activation_checkpointing(on);
  }

  std::string_view type() const override { return "vit_segmenter"; }
  std::vector<std::pair<std::string, std::string>> description() const override;
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 private:
  SegmenterConfig config_;
  nn::Handle<ViTEncoder> encoder_;
  nn::Handle<nn::Linear> head_;
};

// One of these labels that begins with the encoder of `pretrained`, a ViT, a masked autoencoder or
// a segmenter, whose sizes `config` has; its head is drawn from the seed. Throws Error(Argument)
// for fewer than two labels, Error(Shape) for an encoder of other sizes.
std::unique_ptr<Segmenter> make_segmenter(const nn::Module& pretrained, SegmenterConfig config,
                                          std::vector<std::string> labels, uint64_t seed);

}  // namespace plinth
