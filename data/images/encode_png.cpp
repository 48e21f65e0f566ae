#include <png.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/images/encode.h"

namespace plinth {

namespace {

constexpr size_t kColours = 256;

png_image described(int64_t height, int64_t width, png_uint_32 format) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.height = static_cast<png_uint_32>(height);
  image.width = static_cast<png_uint_32>(width);
  image.format = format;
  return image;
}

// `colours`: those of a format that has a palette.
std::string written(png_image& image, const uint8_t* pixels, const uint8_t* colours) {
  const auto write = [&](void* to, png_alloc_size_t& bytes) {
    const int done = png_image_write_to_memory(&image, to, &bytes, 0, pixels, 0, colours);
    check(done != 0, ErrorKind::Argument, "encode_png", image.message);
  };
  png_alloc_size_t bytes = 0;
  write(nullptr, bytes);
  std::string file(bytes, '\0');
  write(file.data(), bytes);
  file.resize(bytes);
  return file;
}

}  // namespace

std::string encode_png(const Image& image) {
  png_image header = described(image.height, image.width, PNG_FORMAT_RGB);
  return written(header, image.bytes.data(), nullptr);
}

std::string encode_png(const Mask& mask) {
  png_image header = described(mask.height, mask.width, PNG_FORMAT_RGB_COLORMAP);
  header.colormap_entries = kColours;
  std::array<uint8_t, 3 * kColours> colours;
  for (size_t i = 0; i < kColours; ++i)
    std::ranges::copy(class_colour(static_cast<int64_t>(i)), colours.begin() + 3 * i);
  return written(header, mask.classes.data(), colours.data());
}

std::array<uint8_t, 3> class_colour(int64_t number) {
  std::array<uint8_t, 3> colour = {};
  for (int bit = 7, rest = static_cast<int>(number % 256); rest != 0; --bit) {
    for (uint8_t& part : colour) {
      part = static_cast<uint8_t>(part | ((rest & 1) << bit));
      rest >>= 1;
    }
  }
  return colour;
}

void draw_frame(Image& image, const std::array<double, 4>& corners,
                const std::array<uint8_t, 3>& colour, int64_t thickness) {
  const auto pixel = [](double place, int64_t size) {
    if (!(place > 0)) return int64_t{0};  // also of what is no number
    return static_cast<int64_t>(std::min(std::round(place), static_cast<double>(size)));
  };
  const int64_t left = pixel(corners[0], image.width), top = pixel(corners[1], image.height);
  const int64_t right = pixel(corners[2], image.width), bottom = pixel(corners[3], image.height);
  for (int64_t y = top; y < bottom; ++y) {
    for (int64_t x = left; x < right; ++x) {
      const int64_t inwards = std::min({x - left, right - 1 - x, y - top, bottom - 1 - y});
      if (inwards < thickness) std::ranges::copy(colour, image.pixel(y, x));
    }
  }
}

}  // namespace plinth
