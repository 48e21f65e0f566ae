#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "kernels/philox.h"
#include "models/vit_mae/vit_mae.h"

namespace plinth {

Tensor mae_noise(uint64_t seed, int64_t epoch, std::span<const int64_t> samples, int64_t patches) {
  constexpr uint32_t kNoiseOp = 0xFFFFFFF0U;  // no run has so many ops
  const kernels::Philox2 stream =
      kernels::philox_stream({.seed = seed, .step = static_cast<uint64_t>(epoch), .op = kNoiseOp});
  Tensor noise = Tensor::empty({std::ssize(samples), patches});
  float* out = noise.data<float>();
  for (const int64_t sample : samples) {
    for (int64_t i = 0; i < patches; ++i)
      *out++ = kernels::uniform(kernels::philox(stream, sample, i / 4)[static_cast<size_t>(i % 4)]);
  }
  return noise;
}

MaeMask mae_mask(const Tensor& noise, int64_t kept) {
  check(noise.dim() == 2, ErrorKind::Shape, "mae_mask", "noise has shape ", noise.shape(),
        ", expected [images, patches]");
  const int64_t images = noise.size(0), patches = noise.size(1);
  check(kept >= 1 && kept < patches, ErrorKind::Argument, "mae_mask", "kept is ", kept,
        ", takes 1 or more, but not all of ", patches, " patches");
  const std::vector<double> values = to_vector(noise);
  std::vector<int64_t> first, places(values.size());
  std::vector<int64_t> order(static_cast<size_t>(patches));
  for (int64_t i = 0; i < images; ++i) {
    const double* row = values.data() + i * patches;
    std::iota(order.begin(), order.end(), int64_t{0});
    std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return row[a] < row[b]; });
    first.insert(first.end(), order.begin(), order.begin() + kept);
    for (int64_t k = 0; k < patches; ++k)
      places[static_cast<size_t>(i * patches + order[static_cast<size_t>(k)])] = k;
  }
  return {from_values(first, {images, kept}), from_values(places, {images, patches})};
}

// The columns come first, and the rows: the original's order, which its weights have learned.
nn::Initializer sinusoidal_positions(int64_t grid) {
  return [grid](Tensor& parameter, const kernels::PhiloxKey&) {
    const int64_t dim = parameter.size(-1), quarter = dim / 4;
    check(dim % 4 == 0 && parameter.numel() == (1 + grid * grid) * dim, ErrorKind::Shape,
          "sinusoidal_positions", "parameter has shape ", parameter.shape(), ", expected [",
          1 + grid * grid, ", a multiple of 4]");
    std::vector<float> values(static_cast<size_t>(parameter.numel()), 0.0F);
    for (int64_t place = 0; place < grid * grid; ++place) {
      float* row = values.data() + (1 + place) * dim;
      for (const int64_t at : {place % grid, place / grid}) {
        for (int64_t k = 0; k < quarter; ++k) {
          const double angle =
              static_cast<double>(at) *
              std::pow(10000.0, -static_cast<double>(k) / static_cast<double>(quarter));
          row[k] = static_cast<float>(std::sin(angle));
          row[quarter + k] = static_cast<float>(std::cos(angle));
        }
        row += 2 * quarter;
      }
    }
    const NoGradGuard no_grad;
    parameter.copy_(from_values(values, parameter.shape()));
  };
}

}  // namespace plinth
