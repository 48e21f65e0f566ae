#include "models/vision/image_embedding.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/matmul.h"
#include "core/ops/views.h"

namespace plinth {

namespace {

constexpr std::string_view kName = "ImageEmbedding";

// Where a value along one side comes from.
struct Taps {
  std::array<int64_t, 4> at;
  std::array<float, 4> weight;
};

// PyTorch computes them in float32, and so does this.
std::vector<Taps> cubic_taps(int64_t from, int64_t to) {
  constexpr float a = -0.75F;
  const auto near = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](float x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  std::vector<Taps> taps;
  for (int64_t i = 0; i < to; ++i) {
    const float place = scale * (static_cast<float>(i) + 0.5F) - 0.5F;
    const float floor = std::floor(place), t = place - floor;
    Taps tap{.at = {}, .weight = {far(t + 1), near(t), near(1 - t), far(2 - t)}};
    for (int64_t k = 0; k < 4; ++k)
      tap.at[static_cast<size_t>(k)] =
          std::clamp<int64_t>(static_cast<int64_t>(floor) - 1 + k, 0, from - 1);
    taps.push_back(tap);
  }
  return taps;
}

}  // namespace

Tensor bicubic_weights(int64_t from, int64_t rows, int64_t columns) {
  const std::vector<Taps> down = cubic_taps(from, rows), across = cubic_taps(from, columns);
  Tensor weights = zeros({rows * columns, from * from});
  float* row = weights.data<float>();
  for (const Taps& y : down) {
    for (const Taps& x : across) {
      for (size_t i = 0; i < 4; ++i) {
        for (size_t j = 0; j < 4; ++j) row[y.at[i] * from + x.at[j]] += y.weight[i] * x.weight[j];
      }
      row += from * from;
    }
  }
  return weights;
}

ImageEmbedding::ImageEmbedding(const ImageEmbeddingOptions& options) : options_(options) {
  check(options.patch_size > 0 && options.image_size >= options.patch_size, ErrorKind::Argument,
        kName, "image_size is ", options.image_size, " and patch_size ", options.patch_size,
        ", expected at least one patch");
  grid_ = options.image_size / options.patch_size;
  patches_ = make<nn::Conv2d>("patches", options.channels, options.dim, Size2d(options.patch_size),
                              Conv2dOptions{.stride = options.patch_size},
                              nn::ConvParameters{.bias = options.patch_bias,
                                                 .weight_init = options.patch_init,
                                                 .bias_init = nn::init::zeros()});
  class_token_ = register_parameter("class_token", {options.dim}, options.class_init);
  position_ =
      register_parameter("position", {1 + patch_count(), options.dim}, options.position_init);
  if (options.fixed_positions) position_.set_requires_grad(false);
}

void ImageEmbedding::check_pixels(const Tensor& pixels, bool interpolate) const {
  check(pixels.dim() == 4 && pixels.size(1) == options_.channels &&
            pixels.size(2) >= options_.patch_size && pixels.size(3) >= options_.patch_size,
        ErrorKind::Shape, kName, "pixels have shape ", pixels.shape(), ", expected [batch, ",
        options_.channels, ", height, width] of at least ", options_.patch_size, " pixels a side");
  const int64_t size = options_.image_size;
  check(interpolate || (pixels.size(2) == size && pixels.size(3) == size), ErrorKind::Shape, kName,
        "pixels have shape ", pixels.shape(), ", expected images of ", size, " x ", size,
        " where positions are not interpolated");
}

Tensor ImageEmbedding::positions(int64_t rows, int64_t columns) const {
  const Tensor learned = position_.narrow(0, 1, patch_count());
  if (rows == grid_ && columns == grid_) return learned;
  const Tensor weights = bicubic_weights(grid_, rows, columns);
  return matmul(weights.to(learned.dtype()).to(learned.device()), learned);
}

Tensor ImageEmbedding::patches(const Tensor& pixels, bool interpolate) {
  check_pixels(pixels, interpolate);
  const Tensor grid = patches_(pixels.to(patches_->weight().dtype()));
  return grid.flatten(2).transpose(1, 2) + positions(grid.size(2), grid.size(3));
}

Tensor ImageEmbedding::with_class_token(const Tensor& x) const {
  const Tensor token = class_token_ + position_.select(0, 0);
  return cat({token.expand({x.size(0), 1, token.size(0)}), x}, 1);
}

Tensor ImageEmbedding::forward(const Tensor& pixels, bool interpolate) {
  return with_class_token(patches(pixels, interpolate));
}

std::string image_text(int64_t size, int64_t channels, int64_t patch_size) {
  return detail::concat(size, " x ", size, ", ", channels, channels == 1 ? " channel" : " channels",
                        ", in patches of ", patch_size, " x ", patch_size);
}

}  // namespace plinth
