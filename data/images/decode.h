#pragma once

// The decoders behind decode_image(). Each throws what that does.

#include "data/images/image.h"

namespace plinth {

Image decode_png(std::span<const std::byte> file, std::string_view subject,
                 const ImageLimits& limits);
Image decode_jpeg(std::span<const std::byte> file, std::string_view subject,
                  const ImageLimits& limits);

// Throws Error(Format) unless the size that a file's header claims is within the limits.
void check_claim(int64_t height, int64_t width, std::string_view subject,
                 const ImageLimits& limits);
// An image of the size that a file's header claims, once that is within the limits.
Image claimed_image(int64_t height, int64_t width, std::string_view subject,
                    const ImageLimits& limits);

}  // namespace plinth
