#pragma once

// Functions of float and double for kernels that compute in compute_t<T>. std::exp, std::log,
// std::erf, std::tanh and std::sqrt are there as well, on either side; these are what those lack.

#include <cmath>
#include <numbers>

#include "kernels/types.h"

#if defined(__CUDACC__)
#include "kernels/device/ptx/math.h"
#endif

namespace plinth::device {

// The larger; NaN where either is.
template <class T>
PLINTH_DEVICE T larger(T a, T b) {
  return a > b || a != a ? a : b;
}

// 1 / sqrt(x); float within 2 ulp.
PLINTH_DEVICE float reciprocal_sqrt(float x) {
  return fast_rsqrt(x);
}
PLINTH_DEVICE double reciprocal_sqrt(double x) {
  return 1 / std::sqrt(x);
}

#if !defined(__CUDACC__)
inline float fast_reciprocal(float x) {
  return 1 / x;
}
#endif
PLINTH_DEVICE double fast_reciprocal(double x) {
  return 1 / x;
}

// e^x for a result that is rounded to T: where T has 16 bits, by one multiplication and the GPU's
// 2^x, whose relative error of 2^-22 + |x| 2^-23 disappears in that rounding.
template <class T>
PLINTH_DEVICE compute_t<T> exp_as(compute_t<T> x) {
  if constexpr (sizeof(T) == 2) {
    return fast_exp2(x * std::numbers::log2e_v<float>);
  } else {
    return std::exp(x);
  }
}

// 1 / (1 + e^-x), likewise.
template <class T>
PLINTH_DEVICE compute_t<T> sigmoid_as(compute_t<T> x) {
  return fast_reciprocal(1 + exp_as<T>(-x));
}

}  // namespace plinth::device
