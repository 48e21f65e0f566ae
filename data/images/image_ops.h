#pragma once

// Changes of an image's colours and geometry, of which RandAugment draws some. Each equals Pillow's
// function of the name in its comment, to the bit.

#include <array>

#include "data/images/image.h"

namespace plinth {

// Stretches each colour's values to all of 0 to 255 (ImageOps.autocontrast).
Image autocontrast(const Image& image);
// Makes the values of each colour equally frequent (ImageOps.equalize).
Image equalize(const Image& image);
// Inverts values from `threshold` on (ImageOps.solarize).
Image solarize(const Image& image, int threshold);
// Keeps the upper `bits` of values, 0 to 8 of them (ImageOps.posterize).
Image posterize(const Image& image, int bits);

// Between a degenerate image, at factor 0, and this one, at 1; beyond that, away from it
// (ImageEnhance). The degenerate image is black, of the mean grey, grey, or smoothed.
Image adjust_brightness(const Image& image, double factor);
Image adjust_contrast(const Image& image, double factor);
Image adjust_saturation(const Image& image, double factor);
Image adjust_sharpness(const Image& image, double factor);

// Pixel (x, y) of the result is that in which (a x + b y + c, d x + e y + f) lies, both measured to
// the middle of a pixel, for matrix {a, b, c, d, e, f}; black where there is none
// (Image.transform of AFFINE with NEAREST).
Image affine(const Image& image, const std::array<double, 6>& matrix);

}  // namespace plinth
