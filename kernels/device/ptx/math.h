#pragma once

// Arithmetic that C++ does not name.

namespace plinth::device {

// The larger; NaN where either is: one instruction, where comparisons take three.
PLINTH_DEVICE float larger(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

// 1 / x within 1 ulp; 0 where that is below 2^-126.
PLINTH_DEVICE float fast_reciprocal(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

}  // namespace plinth::device
