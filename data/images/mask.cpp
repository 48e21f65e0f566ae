#include "data/images/mask.h"

#include <algorithm>

#include "core/error.h"
#include "core/io/file.h"

namespace plinth {

Mask::Mask(int64_t rows, int64_t columns) : height(rows), width(columns) {
  check(rows > 0 && columns > 0, ErrorKind::Argument, "mask", "got ", rows, " x ", columns,
        " pixels, takes at least 1 x 1");
  classes.resize(static_cast<size_t>(rows * columns));
}

Mask read_mask(const std::filesystem::path& path, const ImageLimits& limits) {
  return decode_mask(read_file(path, limits.max_file_bytes), path.string(), limits);
}

Mask cropped(const Mask& mask, int64_t top, int64_t left, int64_t height, int64_t width) {
  check(top >= 0 && left >= 0 && height > 0 && width > 0 && height <= mask.height - top &&
            width <= mask.width - left,
        ErrorKind::Argument, "cropped", "got ", height, " x ", width, " pixels from ", top, ", ",
        left, " on, takes a part of ", mask.height, " x ", mask.width);
  Mask part(height, width);
  for (int64_t y = 0; y < height; ++y)
    std::copy_n(&mask.classes[static_cast<size_t>((top + y) * mask.width + left)], width,
                &part.at(y, 0));
  return part;
}

Mask flipped(const Mask& mask) {
  Mask other = mask;
  for (int64_t y = 0; y < mask.height; ++y) {
    const auto row = other.classes.begin() + y * mask.width;
    std::reverse(row, row + mask.width);
  }
  return other;
}

Mask resized(const Mask& mask, int64_t height, int64_t width) {
  Mask result(height, width);
  const auto source = [](int64_t i, int64_t from, int64_t to) {
    return (2 * i + 1) * from / (2 * to);  // of the middle, i + 1 / 2
  };
  for (int64_t y = 0; y < height; ++y) {
    const int64_t from = source(y, mask.height, height);
    for (int64_t x = 0; x < width; ++x)
      result.at(y, x) = mask.at(from, source(x, mask.width, width));
  }
  return result;
}

}  // namespace plinth
