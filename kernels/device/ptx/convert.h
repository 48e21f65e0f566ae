#pragma once

// Rounding to and from 16-bit floats by the GPU's own instructions (kernels/types.h uses them in
// device code, where the bit arithmetic that defines the formats would be the larger part of many
// kernels). They round to nearest even, subnormals included, as types.h does; a NaN loses its
// payload. Two values are rounded at the price of one, so single ones are pairs with a zero too:
// the scalar conversion is four times slower.

#include <cstdint>

namespace plinth::device {

__device__ __forceinline__ uint32_t bfloat16_pair(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
__device__ __forceinline__ uint32_t float16_pair(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
__device__ __forceinline__ float float16_value(uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

}  // namespace plinth::device
