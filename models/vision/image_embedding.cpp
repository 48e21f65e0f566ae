#include "models/vision/image_embedding.h"

#include <algorithm>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/views.h"
#include "models/vision/interpolation.h"

namespace plinth {

namespace {

constexpr std::string_view kImageEmbedding = "ImageEmbedding";

}  // namespace

ImageEmbedding::ImageEmbedding(const ImageEmbeddingOptions& options) : options_(options) {
  const auto [height, width] = options.image_size;
  check(options.patch_size > 0 && std::min(height, width) >= options.patch_size,
        ErrorKind::Argument, kImageEmbedding, "image_size is ", height, " x ", width,
        " and patch_size ", options.patch_size, ", expected at least one patch");
  check(options.more_tokens >= 0, ErrorKind::Argument, kImageEmbedding, "more_tokens is ",
        options.more_tokens, ", takes 0 or more");
  grid_ = {height / options.patch_size, width / options.patch_size};
  patches_ = make<nn::Conv2d>("patches", options.channels, options.dim, Size2d(options.patch_size),
                              Conv2dOptions{.stride = options.patch_size},
                              nn::ConvParameters{.bias = options.patch_bias,
                                                 .weight_init = options.patch_init,
                                                 .bias_init = nn::init::zeros()});
  class_token_ = register_parameter("class_token", {options.dim}, options.class_init);
  if (options.more_tokens > 0)
    more_tokens_ =
        register_parameter("more_tokens", {options.more_tokens, options.dim}, options.more_init);
  position_ = register_parameter("position", {1 + patch_count() + options.more_tokens, options.dim},
                                 options.position_init);
  if (options.fixed_positions) position_.set_requires_grad(false);
}

void ImageEmbedding::check_pixels(const Tensor& pixels, bool interpolate) const {
  check(pixels.dim() == 4 && pixels.size(1) == options_.channels &&
            pixels.size(2) >= options_.patch_size && pixels.size(3) >= options_.patch_size,
        ErrorKind::Shape, kImageEmbedding, "pixels have shape ", pixels.shape(),
        ", expected [batch, ", options_.channels, ", height, width] of at least ",
        options_.patch_size, " pixels a side");
  const auto [height, width] = options_.image_size;
  check(interpolate || (pixels.size(2) == height && pixels.size(3) == width), ErrorKind::Shape,
        kImageEmbedding, "pixels have shape ", pixels.shape(), ", expected images of ", height,
        " x ", width, " where positions are not interpolated");
}

Tensor ImageEmbedding::positions(int64_t rows, int64_t columns) const {
  return bicubic(position_.narrow(0, 1, patch_count()), grid_, {rows, columns});
}

Tensor ImageEmbedding::patches(const Tensor& pixels, bool interpolate) {
  check_pixels(pixels, interpolate);
  const Tensor grid = patches_(pixels.to(patches_->weight().dtype()));
  return grid.flatten(2).transpose(1, 2) + positions(grid.size(2), grid.size(3));
}

Tensor ImageEmbedding::with_tokens(const Tensor& x) const {
  const Tensor token = class_token_ + position_.select(0, 0);
  Tensors parts = {token.expand({x.size(0), 1, token.size(0)}), x};
  if (const int64_t more = options_.more_tokens; more > 0) {
    const Tensor tokens = more_tokens_ + position_.narrow(0, 1 + patch_count(), more);
    parts.push_back(tokens.unsqueeze(0).expand({x.size(0), more, tokens.size(1)}));
  }
  return cat(parts, 1);
}

Tensor ImageEmbedding::forward(const Tensor& pixels, bool interpolate) {
  return with_tokens(patches(pixels, interpolate));
}

std::string image_text(Size2d size, int64_t channels, int64_t patch_size) {
  return detail::concat(size.height, " x ", size.width, ", ", channels,
                        channels == 1 ? " channel" : " channels", ", in patches of ", patch_size,
                        " x ", patch_size);
}

}  // namespace plinth
