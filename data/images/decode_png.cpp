#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/images/decode.h"
#include "data/images/mask.h"

namespace plinth {

namespace {

// libpng leaves a function by longjmp, past destructors. So each call that does is in a function of
// this class that has nothing to destroy, and tells by its result whether it came to its end.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> file) : rest_(file) {}
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool read_header() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png_) info_ = png_create_info_struct(png_);
    if (!info_) return false;
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_read_fn(png_, this, on_read);
    // Text and profiles are not looked at.
    constexpr png_alloc_size_t kLargestChunk = 8 << 20;
    png_set_chunk_malloc_max(png_, kLargestChunk);
    png_read_info(png_, info_);
    return true;
  }

  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }

  // Makes rows of red, green and blue bytes, and fills those that `rows` points to.
  bool read_rows(uint8_t** rows) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_expand(png_);
    png_set_strip_16(png_);
    png_set_strip_alpha(png_);
    png_set_gray_to_rgb(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != 3 * static_cast<size_t>(width())) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  // Makes rows of a byte a pixel, the place in the palette or the value of grey, and fills those
  // that `rows` points to.
  bool read_indices(uint8_t** rows) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_packing(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != static_cast<size_t>(width())) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  bool has_indices() const {
    const int kind = png_get_color_type(png_, info_);
    return (kind == PNG_COLOR_TYPE_PALETTE || kind == PNG_COLOR_TYPE_GRAY) &&
           png_get_bit_depth(png_, info_) <= 8;
  }

  std::string fault() const { return message_[0] ? message_ : "cannot be decoded"; }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto& reader = *static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(reader.message_, message, sizeof(reader.message_) - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep to, size_t count) {
    auto& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > reader.rest_.size()) png_error(png, "the file ends too early");
    std::memcpy(to, reader.rest_.data(), count);
    reader.rest_ = reader.rest_.subspan(count);
  }

  std::span<const std::byte> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[128] = {};
};

}  // namespace

Image decode_png(std::span<const std::byte> file, std::string_view subject,
                 const ImageLimits& limits) {
  PngReader reader(file);
  check(reader.read_header(), ErrorKind::Format, subject, "is a damaged PNG: ", reader.fault());
  Image image = claimed_image(reader.height(), reader.width(), subject, limits);
  std::vector<uint8_t*> rows;
  for (int64_t y = 0; y < image.height; ++y) rows.push_back(image.pixel(y, 0));
  check(reader.read_rows(rows.data()), ErrorKind::Format, subject,
        "is a damaged PNG: ", reader.fault());
  return image;
}

Mask decode_mask(std::span<const std::byte> file, std::string_view subject,
                 const ImageLimits& limits) {
  PngReader reader(file);
  check(reader.read_header(), ErrorKind::Format, subject, "is no PNG: ", reader.fault());
  check(reader.has_indices(), ErrorKind::Format, subject,
        "is a PNG of colours or of 16 bits, takes one with a palette or of grey as a mask");
  check_claim(reader.height(), reader.width(), subject, limits);
  Mask mask(reader.height(), reader.width());
  std::vector<uint8_t*> rows;
  for (int64_t y = 0; y < mask.height; ++y) rows.push_back(&mask.at(y, 0));
  check(reader.read_indices(rows.data()), ErrorKind::Format, subject,
        "is a damaged PNG: ", reader.fault());
  return mask;
}

}  // namespace plinth
