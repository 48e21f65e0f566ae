#pragma once

#include "data/images/image.h"

namespace plinth {

// How a pixel is made of those near it: linear within 1 pixel, or a cubic with a = -0.5 within 2
// (Keys 1981, "Cubic convolution interpolation for digital image processing").
enum class ResizeFilter { Bilinear, Bicubic };

// The image at another size. Where it becomes smaller, the filter is widened by as much, so that no
// pixel is lost (antialiasing). Columns are computed before rows, each in fixed point with 22 bits
// and rounded to bytes: Pillow's resize(), to the bit. Throws Error(Argument) for a side below 1.
Image resized(const Image& image, int64_t height, int64_t width,
              ResizeFilter filter = ResizeFilter::Bilinear);

}  // namespace plinth
