#pragma once

// Images as bytes, and from PNG and JPEG files.

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace plinth {

// Red, green and blue of each pixel, row by row from the top: uint8 [height, width, 3].
struct Image {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> bytes;

  Image() = default;
  // Black. Throws Error(Argument) for a side below 1.
  Image(int64_t rows, int64_t columns);

  uint8_t* pixel(int64_t y, int64_t x) { return bytes.data() + 3 * (y * width + x); }
  const uint8_t* pixel(int64_t y, int64_t x) const { return bytes.data() + 3 * (y * width + x); }
  bool operator==(const Image&) const = default;
};

// What a file may ask for: a small one can claim to be of any size.
struct ImageLimits {
  int64_t max_pixels = int64_t{1} << 26;  // 192 MiB
  uint64_t max_file_bytes = uint64_t{1} << 28;
};

// A PNG or a JPEG, told apart by their first bytes. Grey is given to all three colours; a palette
// is looked up; transparency is left out, and of 16 bits the upper 8 are taken. Neither gamma nor
// an orientation of EXIF is applied. Throws Error(Format) naming `subject` for another format, an
// image above the limits, one in CMYK, and one that is truncated or damaged, though a viewer may
// show part of it.
Image decode_image(std::span<const std::byte> file, std::string_view subject,
                   const ImageLimits& limits = {});
// The same of a file. Throws Error(Io) where it cannot be read.
Image read_image(const std::filesystem::path& path, const ImageLimits& limits = {});

// Rows [top, top + height) and columns [left, left + width). Throws Error(Argument) unless they lie
// in the image.
Image cropped(const Image& image, int64_t top, int64_t left, int64_t height, int64_t width);
// Left and right exchanged.
Image flipped(const Image& image);

// What a model takes for a value of a colour: (value / 255 - mean) / deviation, for red, green and
// blue.
struct Normalization {
  std::array<float, 3> mean = {0.5F, 0.5F, 0.5F};
  std::array<float, 3> deviation = {0.5F, 0.5F, 0.5F};
};

// Images of one size as float32 [images, 3, height, width]. Throws Error(Shape) for several sizes
// or no image.
Tensor to_tensor(std::span<const Image> images, const Normalization& normalization = {});

}  // namespace plinth
