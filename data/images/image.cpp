#include "data/images/image.h"

#include <algorithm>

#include "core/error.h"
#include "core/io/file.h"
#include "data/images/decode.h"

namespace plinth {

namespace {

bool begins_with(std::span<const std::byte> file, std::string_view signature) {
  return text_of(file).starts_with(signature);
}

}  // namespace

Image::Image(int64_t rows, int64_t columns) : height(rows), width(columns) {
  check(rows > 0 && columns > 0, ErrorKind::Argument, "image", "got ", rows, " x ", columns,
        " pixels, takes at least 1 x 1");
  bytes.resize(static_cast<size_t>(3 * rows * columns));
}

void check_claim(int64_t height, int64_t width, std::string_view subject,
                 const ImageLimits& limits) {
  check(height > 0 && width > 0 && height <= limits.max_pixels / width, ErrorKind::Format, subject,
        "is an image of ", height, " x ", width, " pixels, takes at most ", limits.max_pixels,
        " in all");
}

Image claimed_image(int64_t height, int64_t width, std::string_view subject,
                    const ImageLimits& limits) {
  check_claim(height, width, subject, limits);
  return Image(height, width);
}

Image decode_image(std::span<const std::byte> file, std::string_view subject,
                   const ImageLimits& limits) {
  if (begins_with(file, "\x89PNG\r\n\x1a\n")) return decode_png(file, subject, limits);
  if (begins_with(file, "\xff\xd8\xff")) return decode_jpeg(file, subject, limits);
  throw Error(ErrorKind::Format, subject, "is neither a PNG nor a JPEG image");
}

Image read_image(const std::filesystem::path& path, const ImageLimits& limits) {
  return decode_image(read_file(path, limits.max_file_bytes), path.string(), limits);
}

Image cropped(const Image& image, int64_t top, int64_t left, int64_t height, int64_t width) {
  check(top >= 0 && left >= 0 && height > 0 && width > 0 && height <= image.height - top &&
            width <= image.width - left,
        ErrorKind::Argument, "cropped", "got ", height, " x ", width, " pixels from ", top, ", ",
        left, " on, takes a part of ", image.height, " x ", image.width);
  Image part(height, width);
  for (int64_t y = 0; y < height; ++y)
    std::copy_n(image.pixel(top + y, left), 3 * width, part.pixel(y, 0));
  return part;
}

Image flipped(const Image& image) {
  Image other(image.height, image.width);
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x)
      std::copy_n(image.pixel(y, image.width - 1 - x), 3, other.pixel(y, x));
  }
  return other;
}

}  // namespace plinth
