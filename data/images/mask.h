#pragma once

// Masks: the class of each pixel of an image, as data sets for segmentation have them.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "data/images/image.h"

namespace plinth {

// Row by row from the top: uint8 [height, width].
struct Mask {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> classes;

  Mask() = default;
  // All of class 0. Throws Error(Argument) for a side below 1.
  Mask(int64_t rows, int64_t columns);

  uint8_t& at(int64_t y, int64_t x) { return classes[static_cast<size_t>(y * width + x)]; }
  uint8_t at(int64_t y, int64_t x) const { return classes[static_cast<size_t>(y * width + x)]; }
  bool operator==(const Mask&) const = default;
};

// A PNG with a palette, whose places are the classes, or of grey, whose values are, as they stand,
// of 1 to 8 bits. Throws Error(Format) naming `subject` for colours without a palette, for 16 bits,
// for transparency beside grey, and what decode_image() does.
Mask decode_mask(std::span<const std::byte> file, std::string_view subject,
                 const ImageLimits& limits = {});
// The same of a file. Throws Error(Io) where it cannot be read.
Mask read_mask(const std::filesystem::path& path, const ImageLimits& limits = {});

// What the functions of these names do to images. A pixel of another size is that in which its
// middle lies, so that no class is mixed with another.
Mask cropped(const Mask& mask, int64_t top, int64_t left, int64_t height, int64_t width);
Mask flipped(const Mask& mask);
Mask resized(const Mask& mask, int64_t height, int64_t width);

}  // namespace plinth
