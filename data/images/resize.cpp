#include "data/images/resize.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace plinth {

namespace {

constexpr int kBits = 22;  // after the point: 8 of a value, 2 of what a cubic adds, make 32

double weight_at(double x, ResizeFilter filter) {
  x = std::abs(x);
  if (filter == ResizeFilter::Bilinear) return x < 1 ? 1 - x : 0;
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// What one place of the result is made of: places from `first` on.
struct Window {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

std::vector<Window> windows(int64_t from, int64_t to, ResizeFilter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double width = std::max(scale, 1.0);
  const double support = width * (filter == ResizeFilter::Bilinear ? 1 : 2);
  std::vector<Window> all;
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first =
        std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - support + 0.5)));
    const int64_t end = std::min(from, static_cast<int64_t>(std::floor(centre + support + 0.5)));
    std::vector<double> weights;
    double sum = 0;
    for (int64_t at = first; at < end; ++at) {
      weights.push_back(weight_at((static_cast<double>(at) - centre + 0.5) * (1 / width), filter));
      sum += weights.back();
    }
    Window window{.first = first, .weights = {}};
    for (const double weight : weights) {
      const double scaled = weight / sum * (1 << kBits);
      window.weights.push_back(static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
    all.push_back(std::move(window));
  }
  return all;
}

// The weighted sum of three bytes at each of the window's places, `step` bytes apart.
void apply(const Window& window, const uint8_t* from, int64_t step, uint8_t* to) {
  for (int64_t colour = 0; colour < 3; ++colour) {
    int32_t sum = 1 << (kBits - 1);
    const uint8_t* at = from + window.first * step + colour;
    for (const int32_t weight : window.weights) {
      sum += *at * weight;
      at += step;
    }
    to[colour] = static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255));
  }
}

}  // namespace

Image resized(const Image& image, int64_t height, int64_t width, ResizeFilter filter) {
  Image wide = image;
  if (width != image.width) {
    wide = Image(image.height, width);
    const std::vector<Window> columns = windows(image.width, width, filter);
    for (int64_t y = 0; y < image.height; ++y) {
      for (int64_t x = 0; x < width; ++x)
        apply(columns[static_cast<size_t>(x)], image.pixel(y, 0), 3, wide.pixel(y, x));
    }
  }
  if (height == image.height) return wide;
  Image result(height, width);
  const std::vector<Window> rows = windows(image.height, height, filter);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x)
      apply(rows[static_cast<size_t>(y)], wide.pixel(0, x), 3 * width, result.pixel(y, x));
  }
  return result;
}

}  // namespace plinth
