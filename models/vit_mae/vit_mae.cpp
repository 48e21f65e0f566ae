#include "models/vit_mae/vit_mae.h"

#include <cmath>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"

namespace plinth {

namespace {

constexpr std::string_view kViTMae = "vit_mae";

// A ViT of the decoder's sizes.
ViTConfig decoder_config(const ViTMaeConfig& config) {
  ViTConfig decoder = config.vit;
  decoder.dim = config.decoder_dim;
  decoder.layers = config.decoder_layers;
  decoder.heads = config.decoder_heads;
  decoder.ffn_dim = config.decoder_ffn_dim;
  return decoder;
}

// The convolution of patches is drawn as a matrix [dim, pixels of a patch] would be.
nn::Initializer patch_init(const ViTConfig& config) {
  const int64_t pixels = config.channels * config.patch_size * config.patch_size;
  const double bound = std::sqrt(6.0 / static_cast<double>(pixels + config.dim));
  return nn::init::uniform(-bound, bound);
}

// The rows of x [images, count, dim] at index [images, some]: [images, some, dim]. An index of
// `count` means row `filler` [dim], if that is given. The host reads no index, which may be a
// GPU's.
Tensor rows_at(const Tensor& x, const Tensor& index, const Tensor& filler = {}) {
  const int64_t images = x.size(0), count = x.size(1), some = index.size(1), dim = x.size(2);
  const Tensor first = arange(0, static_cast<double>(images * count), static_cast<double>(count),
                              {DType::Int64, x.device()});
  const Tensor places = index.to(x.device());
  Tensor at = places + first.unsqueeze(1);
  Tensor rows = x.reshape({images * count, dim});
  if (filler.defined()) {
    at = masked_fill(at, ge(places, static_cast<double>(count)),
                     static_cast<double>(images * count));
    rows = cat({rows, filler.unsqueeze(0).to(x.dtype())}, 0);
  }
  return index_select(rows, 0, at.flatten(0, 1)).reshape({images, some, dim});
}

void check_mask(const ViTMaeConfig& config, const Tensor& pixels, const MaeMask& mask) {
  const Shape kept{pixels.size(0), config.kept()}, restored{pixels.size(0), config.patches()};
  check(mask.kept.defined() && mask.restored.defined() && mask.kept.shape() == kept &&
            mask.restored.shape() == restored,
        ErrorKind::Shape, kViTMae, "mask is not of ", pixels.size(0), " images of which ",
        config.kept(), " of ", config.patches(), " patches are kept");
}

}  // namespace

ViTMae::ViTMae(const ViTMaeConfig& config) : config_(config) {
  const ViTConfig decoder = decoder_config(config);
  const auto weight = nn::init::normal(0, config.vit.initializer_range);
  const nn::LinearOptions linear{.weight_init = weight, .bias_init = nn::init::zeros()};
  const int64_t grid = config.vit.grid(), patch = config.vit.patch_size;
  encoder_ = make<ViTEncoder>("encoder", config.vit,
                              ViTEmbeddingOptions{.fixed_positions = true,
                                                  .patch_init = patch_init(config.vit),
                                                  .class_init = weight,
                                                  .position_init = sinusoidal_positions(grid)});
  decoder_embedding_ =
      make<nn::Linear>("decoder_embedding", config.vit.dim, config.decoder_dim, linear);
  mask_token_ = register_parameter("mask_token", {config.decoder_dim}, weight);
  decoder_position_ = register_parameter(
      "decoder_position", {1 + config.patches(), config.decoder_dim}, sinusoidal_positions(grid));
  decoder_position_.set_requires_grad(false);
  decoder_blocks_ =
      make<PreNormStack>("decoder_blocks", decoder.layers, vit_block_options(decoder));
  decoder_norm_ = make<nn::LayerNorm>("decoder_norm", config.decoder_dim,
                                      nn::LayerNormOptions{.eps = config.vit.norm_eps});
  prediction_ = make<nn::Linear>("prediction", config.decoder_dim,
                                 patch * patch * config.vit.channels, linear);
}

Tensor ViTMae::encode(const Tensor& pixels, const MaeMask& mask) {
  const Tensor patches = encoder_->embedding().patches(pixels);
  check_mask(config_, pixels, mask);
  return encoder_->encode(rows_at(patches, mask.kept));
}

Tensor ViTMae::decode(const Tensor& x, const MaeMask& mask) {
  const Tensor tokens = decoder_embedding_(x);
  const Tensor seen = tokens.narrow(1, 1, config_.kept());
  // A place beyond those that were kept takes the token that stands for a masked patch.
  const Tensor all =
      rows_at(seen, clamp(mask.restored, 0, static_cast<double>(config_.kept())), mask_token_);
  const Tensor y = cat({tokens.narrow(1, 0, 1), all}, 1) + decoder_position_;
  return prediction_(decoder_norm_(decoder_blocks_(y)).narrow(1, 1, config_.patches()));
}

Tensor ViTMae::forward(const Tensor& pixels, const MaeMask& mask) {
  return decode(encode(pixels, mask), mask);
}

Tensor ViTMae::patches_of(const Tensor& pixels) const {
  const int64_t grid = config_.vit.grid(), patch = config_.vit.patch_size;
  const int64_t channels = config_.vit.channels, images = pixels.size(0);
  return pixels.reshape({images, channels, grid, patch, grid, patch})
      .permute({0, 2, 4, 3, 5, 1})
      .reshape({images, grid * grid, patch * patch * channels});
}

Tensor ViTMae::loss(const Tensor& pixels, const MaeMask& mask) {
  const Tensor predicted = forward(pixels, mask);
  Tensor target = patches_of(pixels).to(predicted.dtype());
  if (config_.norm_pix_loss) {
    constexpr double kLeast = 1e-6;
    target = (target - mean(target, {2}, true)) / sqrt(var(target, {2}, 1, true) + kLeast);
  }
  const Tensor error = mean(square(predicted - target), {2});
  const Tensor hidden = ge(mask.restored, static_cast<double>(config_.kept()));
  const auto count = static_cast<double>(pixels.size(0) * (config_.patches() - config_.kept()));
  return sum(error * hidden.to(error.dtype()).to(error.device())) / count;
}

void ViTMae::set_activation_checkpointing(bool on) {
  encoder_->blocks().set_activation_checkpointing(on);
  decoder_blocks_->set_activation_checkpointing(on);
}

std::vector<std::pair<std::string, std::string>> ViTMae::description() const {
  auto lines = describe_vit(config_.vit);
  lines.emplace_back("decoder", describe_vit(decoder_config(config_)).front().second);
  lines.emplace_back("masked", std::to_string(config_.patches() - config_.kept()) + " of " +
                                   std::to_string(config_.patches()) + " patches");
  return lines;
}

std::vector<WeightSlice> ViTMae::weight_slices() const {
  std::vector<WeightSlice> slices = vit_encoder_slices(config_.vit, "vit.", "encoder.");
  for (WeightSlice& slice :
       vit_block_slices(config_.decoder_layers, config_.decoder_dim, config_.vit.qkv_bias,
                        "decoder.decoder_layers.", "decoder_blocks."))
    slices.push_back(std::move(slice));
  for (const std::string kind : {".weight", ".bias"}) {
    slices.push_back({"decoder.decoder_embed" + kind, "decoder_embedding" + kind});
    slices.push_back({"decoder.decoder_norm" + kind, "decoder_norm" + kind});
    slices.push_back({"decoder.decoder_pred" + kind, "prediction" + kind});
  }
  slices.push_back(
      {.file_name = "decoder.mask_token", .parameter = "mask_token", .leading_ones = 2});
  slices.push_back({.file_name = "decoder.decoder_pos_embed",
                    .parameter = "decoder_position",
                    .leading_ones = 1});
  return slices;
}

}  // namespace plinth
