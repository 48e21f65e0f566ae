#include "data/images/image_ops.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace plinth {

namespace {

using Table = std::array<uint8_t, 256>;
using Histogram = std::array<int64_t, 256>;

// Each colour by a table of its own, which `make` gives from the colour's histogram.
template <class Make>
Image by_histogram(const Image& image, Make&& make) {
  std::array<Histogram, 3> histograms = {};
  for (size_t i = 0; i < image.bytes.size(); ++i) ++histograms[i % 3][image.bytes[i]];
  std::array<Table, 3> tables;
  for (size_t colour = 0; colour < 3; ++colour) tables[colour] = make(histograms[colour]);
  Image result = image;
  for (size_t i = 0; i < result.bytes.size(); ++i) result.bytes[i] = tables[i % 3][result.bytes[i]];
  return result;
}

template <class Change>
Image by_value(const Image& image, Change&& change) {
  Image result = image;
  for (uint8_t& byte : result.bytes) byte = static_cast<uint8_t>(change(int{byte}));
  return result;
}

Table identity() {
  Table table;
  std::iota(table.begin(), table.end(), uint8_t{0});
  return table;
}

Table stretched(const Histogram& histogram) {
  const auto counts = [](int64_t count) { return count > 0; };
  const auto low = std::ranges::find_if(histogram, counts) - histogram.begin();
  const auto high =
      255 - (std::find_if(histogram.rbegin(), histogram.rend(), counts) - histogram.rbegin());
  Table table = identity();
  if (high <= low) return table;
  const double scale = 255.0 / static_cast<double>(high - low);
  const double offset = -static_cast<double>(low) * scale;
  for (size_t value = 0; value < 256; ++value) {
    const double moved = static_cast<double>(value) * scale + offset;
    table[value] = static_cast<uint8_t>(std::clamp(static_cast<int>(moved), 0, 255));
  }
  return table;
}

Table equalized(const Histogram& histogram) {
  Table table = identity();
  const auto present = std::ranges::count_if(histogram, [](int64_t count) { return count > 0; });
  const auto last =
      std::find_if(histogram.rbegin(), histogram.rend(), [](int64_t count) { return count > 0; });
  const int64_t all = std::accumulate(histogram.begin(), histogram.end(), int64_t{0});
  const int64_t step = present > 1 ? (all - *last) / 255 : 0;
  if (step == 0) return table;
  int64_t sum = step / 2;
  for (size_t value = 0; value < 256; ++value) {
    table[value] = static_cast<uint8_t>(std::min<int64_t>(255, sum / step));
    sum += histogram[value];
  }
  return table;
}

// ITU-R 601-2 luma, in fixed point.
int grey(const uint8_t* pixel) {
  return (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16;
}

// other + factor (image - other), rounded down inside, limited outside [0, 1] of factor.
Image blended(const Image& other, const Image& image, double factor) {
  Image result = image;
  const auto share = static_cast<float>(factor);
  for (size_t i = 0; i < image.bytes.size(); ++i) {
    const int from = other.bytes[i], to = image.bytes[i];
    const float value = static_cast<float>(from) + share * static_cast<float>(to - from);
    result.bytes[i] = static_cast<uint8_t>(value <= 0 ? 0 : value >= 255 ? 255 : value);
  }
  return result;
}

// Each value and its neighbours weigh 5 and 1; the edge stays.
Image smoothed(const Image& image) {
  Image result = image;
  for (int64_t y = 1; y + 1 < image.height; ++y) {
    for (int64_t x = 1; x + 1 < image.width; ++x) {
      for (int64_t colour = 0; colour < 3; ++colour) {
        int sum = 4 * image.pixel(y, x)[colour];
        for (int64_t dy = -1; dy <= 1; ++dy) {
          for (int64_t dx = -1; dx <= 1; ++dx) sum += image.pixel(y + dy, x + dx)[colour];
        }
        result.pixel(y, x)[colour] = static_cast<uint8_t>((2 * sum + 13) / 26);
      }
    }
  }
  return result;
}

}  // namespace

Image autocontrast(const Image& image) {
  return by_histogram(image, stretched);
}

Image equalize(const Image& image) {
  return by_histogram(image, equalized);
}

Image solarize(const Image& image, int threshold) {
  return by_value(image, [&](int value) { return value < threshold ? value : 255 - value; });
}

Image posterize(const Image& image, int bits) {
  const int mask = 0xFF & ~((1 << (8 - std::clamp(bits, 0, 8))) - 1);
  return by_value(image, [&](int value) { return value & mask; });
}

Image adjust_brightness(const Image& image, double factor) {
  return blended(Image(image.height, image.width), image, factor);
}

Image adjust_contrast(const Image& image, double factor) {
  double sum = 0;
  for (size_t i = 0; i < image.bytes.size(); i += 3) sum += grey(image.bytes.data() + i);
  const double mean = sum / static_cast<double>(image.height * image.width);
  Image flat = image;
  std::ranges::fill(flat.bytes, static_cast<uint8_t>(std::lround(mean)));
  return blended(flat, image, factor);
}

Image adjust_saturation(const Image& image, double factor) {
  Image colourless = image;
  for (size_t i = 0; i < image.bytes.size(); i += 3)
    std::fill_n(colourless.bytes.begin() + static_cast<std::ptrdiff_t>(i), 3,
                static_cast<uint8_t>(grey(image.bytes.data() + i)));
  return blended(colourless, image, factor);
}

Image adjust_sharpness(const Image& image, double factor) {
  return blended(smoothed(image), image, factor);
}

// In fixed point with 16 bits, as Pillow computes it.
Image affine(const Image& image, const std::array<double, 6>& matrix) {
  const auto fixed = [](double value) {
    return static_cast<int64_t>(std::floor(value * 65536.0 + 0.5));
  };
  const auto& [a, b, c, d, e, f] = matrix;
  int64_t row_x = fixed(c + a * 0.5 + b * 0.5), row_y = fixed(f + d * 0.5 + e * 0.5);
  const int64_t ax = fixed(a), bx = fixed(b), dy = fixed(d), ey = fixed(e);
  Image result(image.height, image.width);
  for (int64_t y = 0; y < image.height; ++y) {
    int64_t at_x = row_x, at_y = row_y;
    for (int64_t x = 0; x < image.width; ++x) {
      const int64_t from_x = at_x >> 16, from_y = at_y >> 16;
      if (from_x >= 0 && from_x < image.width && from_y >= 0 && from_y < image.height)
        std::copy_n(image.pixel(from_y, from_x), 3, result.pixel(y, x));
      at_x += ax;
      at_y += dy;
    }
    row_x += bx;
    row_y += ey;
  }
  return result;
}

}  // namespace plinth
