#include "models/vision/interpolation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/autocast.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/matmul.h"

namespace plinth {

namespace {

// Where a value along one side comes from.
template <size_t N>
struct Taps {
  std::array<int64_t, N> at;
  std::array<float, N> weight;
};

// The place of value i of `to` among those of `from`. PyTorch computes it in float32, and so does
// this.
float place_of(int64_t i, int64_t from, int64_t to) {
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  return scale * (static_cast<float>(i) + 0.5F) - 0.5F;
}

std::vector<Taps<4>> cubic_taps(int64_t from, int64_t to) {
  constexpr float a = -0.75F;
  const auto near = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](float x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  std::vector<Taps<4>> taps;
  for (int64_t i = 0; i < to; ++i) {
    const float place = place_of(i, from, to), floor = std::floor(place), t = place - floor;
    Taps<4> tap{.at = {}, .weight = {far(t + 1), near(t), near(1 - t), far(2 - t)}};
    for (int64_t k = 0; k < 4; ++k)
      tap.at[static_cast<size_t>(k)] =
          std::clamp<int64_t>(static_cast<int64_t>(floor) - 1 + k, 0, from - 1);
    taps.push_back(tap);
  }
  return taps;
}

// [to, from], float32, made where they are used: a step that copied them from the host could be no
// CUDA graph.
Tensor linear_weights(int64_t from, int64_t to, Device device) {
  const TensorOptions options{DType::Float32, device};
  const double scale = static_cast<float>(from) / static_cast<float>(to);
  const Tensor centers = arange(0, static_cast<double>(to), 1, options) + 0.5;
  const Tensor place = clamp(centers * scale - 0.5, 0, static_cast<double>(from - 1));
  const Tensor below = floor(place), share = place - below;
  const Tensor columns = arange(0, static_cast<double>(from), 1, options);
  const auto at = [&](const Tensor& rows) {
    return eq(rows.unsqueeze(1), columns).to(DType::Float32);
  };
  return at(below) * (1 - share).unsqueeze(1) + at(below + 1) * share.unsqueeze(1);
}

}  // namespace

Tensor bicubic_weights(Size2d from, Size2d to) {
  const auto down = cubic_taps(from.height, to.height), across = cubic_taps(from.width, to.width);
  Tensor weights = zeros({to.height * to.width, from.height * from.width});
  float* row = weights.data<float>();
  for (const Taps<4>& y : down) {
    for (const Taps<4>& x : across) {
      for (size_t i = 0; i < 4; ++i) {
        for (size_t j = 0; j < 4; ++j)
          row[y.at[i] * from.width + x.at[j]] += y.weight[i] * x.weight[j];
      }
      row += from.height * from.width;
    }
  }
  return weights;
}

Tensor bicubic(const Tensor& x, Size2d from, Size2d to) {
  check(x.dim() >= 2 && x.size(-2) == from.height * from.width, ErrorKind::Shape, "bicubic",
        "x has shape ", x.shape(), ", expected [..., ", from.height * from.width, ", dim]");
  if (from.height == to.height && from.width == to.width) return x;
  return matmul(bicubic_weights(from, to).to(x.dtype()).to(x.device()), x);
}

Tensor bilinear(const Tensor& x, Size2d to) {
  check(x.dim() >= 2 && to.height > 0 && to.width > 0, ErrorKind::Shape, "bilinear", "got shape ",
        x.shape(), " and size ", to.height, " x ", to.width,
        ", takes [..., rows, columns] and sizes of at least 1");
  const AutocastGuard exact(DType::Float32);
  const Tensor wide = x.dtype() == DType::Float64 ? x : x.to(DType::Float32);
  const auto weights = [&](int64_t from, int64_t size) {
    return linear_weights(from, size, wide.device()).to(wide.dtype());
  };
  const Tensor across = matmul(wide, weights(x.size(-1), to.width).transpose(0, 1));
  return matmul(weights(x.size(-2), to.height), across);
}

}  // namespace plinth
