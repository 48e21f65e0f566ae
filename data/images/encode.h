#pragma once

// Images as PNG files.

#include <array>
#include <cstdint>
#include <string>

#include "data/images/image.h"
#include "data/images/mask.h"

namespace plinth {

// The bytes of a file.
std::string encode_png(const Image& image);
// Each class in its class_colour(), by a palette: the file is a mask, too (decode_mask()).
std::string encode_png(const Mask& mask);

// Red, green and blue of a class, of 256 that differ: 0 is black, 1 dark red. The bits of its
// number, dealt in turn to the colours from the highest bit down, as Pascal VOC paints masks.
std::array<uint8_t, 3> class_colour(int64_t number);

// The frame of a box whose corners are given in pixels, `thickness` pixels inwards from its edge.
// What lies outside the image is left out.
void draw_frame(Image& image, const std::array<double, 4>& corners,
                const std::array<uint8_t, 3>& colour, int64_t thickness);

}  // namespace plinth
