#include <algorithm>

#include "kernels/types.h"

namespace plinth {
namespace {

// Rounds |value| to a float with `mantissa` bits and the smallest normal exponent `min_exponent`,
// and returns exponent and mantissa packed; `largest` caps the packed result.
uint8_t encode(float value, int mantissa, int min_exponent, uint8_t largest) {
  const float magnitude = std::fabs(value);
  if (magnitude == 0.0f) return 0;
  const int exponent = std::max(std::isinf(magnitude) ? 127 : std::ilogb(magnitude), min_exponent);
  const float ulps = std::nearbyint(std::ldexp(std::min(magnitude, 1e6f), mantissa - exponent));
  const int packed =
      ((exponent - min_exponent) << mantissa) + static_cast<int>(std::min(ulps, 1e6f));
  return static_cast<uint8_t>(std::min<int>(packed, largest));
}

float decode(uint8_t magnitude, int mantissa, int min_exponent) {
  const int exponent = magnitude >> mantissa;
  const int fraction = magnitude & ((1 << mantissa) - 1);
  if (exponent == 0) return std::ldexp(static_cast<float>(fraction), min_exponent - mantissa);
  return std::ldexp(static_cast<float>(fraction + (1 << mantissa)),
                    exponent - 1 + min_exponent - mantissa);
}

uint8_t sign_of(float value) {
  return std::signbit(value) ? 0x80 : 0;
}

}  // namespace

Float8_e4m3::Float8_e4m3(float value)
    : bits(sign_of(value) | (std::isnan(value) ? 0x7f : encode(value, 3, -6, 0x7e))) {}

Float8_e4m3::operator float() const {
  const uint8_t magnitude = bits & 0x7f;
  const float value =
      magnitude == 0x7f ? std::numeric_limits<float>::quiet_NaN() : decode(magnitude, 3, -6);
  return bits & 0x80 ? -value : value;
}

Float8_e5m2::Float8_e5m2(float value)
    : bits(sign_of(value) | (std::isnan(value) ? 0x7e : encode(value, 2, -14, 0x7b))) {}

Float8_e5m2::operator float() const {
  const uint8_t magnitude = bits & 0x7f;
  float value = decode(magnitude, 2, -14);
  if (magnitude == 0x7c) value = std::numeric_limits<float>::infinity();
  if (magnitude > 0x7c) value = std::numeric_limits<float>::quiet_NaN();
  return bits & 0x80 ? -value : value;
}

}  // namespace plinth
