#pragma once

// The masked autoencoder (He et al. 2022, arXiv 2111.06377): a ViT that sees a quarter of an
// image's patches, and a small decoder that fills in the others. What is kept afterwards is the
// ViT.

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/vit/vit.h"
#include "models/vit_mae/config.h"

namespace plinth {

// Which patches of each image are seen: int64 tensors, on the CPU or the model's device.
struct MaeMask {
  Tensor kept;      // [images, kept], in the order in which the encoder gets them
  Tensor restored;  // [images, patches]: each patch's place among all, those that are kept first
};

// Noise in [0, 1) for each patch, float32 [samples, patches], by which mae_mask() chooses: a
// function of seed, epoch and the sample's number alone.
Tensor mae_noise(uint64_t seed, int64_t epoch, std::span<const int64_t> samples, int64_t patches);

// Keeps of each row of noise [images, patches] the `kept` patches of the least, the earlier of
// equal ones. Throws Error(Shape) for other noise, Error(Argument) unless 1 <= kept < patches.
MaeMask mae_mask(const Tensor& noise, int64_t kept);

// Sines and cosines of the row and column of each place of a grid, below one of zeros for the class
// token: an initializer of [1 + grid * grid, dim], for dim a multiple of 4.
nn::Initializer sinusoidal_positions(int64_t grid);

// transformers' ViTMAEForPreTraining. Positions are sines, and not trained.
class ViTMae final : public ImageModel {
 public:
  // Throws Error(Argument) for sizes that do not fit together.
  explicit ViTMae(const ViTMaeConfig& config);

  const ViTMaeConfig& config() const { return config_; }
  // The encoder's output [images, 1 + kept, dim] for the patches that the mask keeps of pixels
  // [images, channels, size, size]. Throws Error(Shape) for other sizes, and for a mask of another
  // number of images or patches.
  Tensor encode(const Tensor& pixels, const MaeMask& mask);
  // What the decoder makes of each patch, [images, patches, patch_size^2 channels], its pixels row
  // by row and the channels of each together. Throws what encode() does.
  Tensor forward(const Tensor& pixels, const MaeMask& mask);
  // The mean squared error of forward() on the patches that the mask hides: of their pixels, or
  // with norm_pix_loss of these less the patch's mean, over its deviation. Throws what encode()
  // does.
  Tensor loss(const Tensor& pixels, const MaeMask& mask);
  // Pixels [images, channels, size, size] as forward() gives them.
  Tensor patches_of(const Tensor& pixels) const;

  // Runs each block's forward pass again in backward rather than keep what it computed.
  void set_activation_checkpointing(bool on);

  std::string_view type() const override { return "vit_mae"; }
  std::vector<std::pair<std::string, std::string>> description() const override;
  std::string config_json(DType dtype) const override { return config_.to_json(dtype); }
  std::vector<WeightSlice> weight_slices() const override;

 private:
  Tensor decode(const Tensor& x, const MaeMask& mask);

  ViTMaeConfig config_;
  nn::Handle<ViTEncoder> encoder_;
  nn::Handle<nn::Linear> decoder_embedding_;
  Tensor mask_token_;        // [decoder_dim]
  Tensor decoder_position_;  // [1 + patches, decoder_dim]
  nn::Handle<PreNormStack> decoder_blocks_;
  nn::Handle<nn::LayerNorm> decoder_norm_;
  nn::Handle<nn::Linear> prediction_;
};

}  // namespace plinth
