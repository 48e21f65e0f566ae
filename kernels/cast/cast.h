#pragma once

// Conversion between element types: out_i = To(x_i).
//
// Any two of double, float, BFloat16, Float16, Float8_e4m3, Float8_e5m2, int64_t, int32_t, uint8_t,
// bool. Narrow floats are reached through float32, rounding to nearest even at each step. A float
// becomes an integer by truncation towards zero, saturating at the integer's limits, NaN as 0;
// integers wrap among themselves; bool is x != 0 (true for NaN).
// Aliasing: none, except out == x for types of equal size.
// Bytes: n elements in, n out.

#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/parallel.h"
#include "kernels/types.h"

namespace plinth::kernels::cpu {

template <class T>
inline constexpr bool is_narrow_float = !std::is_arithmetic_v<T>;

template <class To, class From>
inline To cast_element(From x) {
  if constexpr (std::is_same_v<From, To>) {
    return x;
  } else if constexpr (is_narrow_float<From>) {
    return cast_element<To>(static_cast<float>(x));
  } else if constexpr (is_narrow_float<To>) {
    return To(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // Both limits are powers of two, or rounded up to one, so that From holds them exactly.
    constexpr From low = static_cast<From>(std::numeric_limits<To>::min());
    constexpr From beyond = From(2) * static_cast<From>(std::numeric_limits<To>::max() / 2 + 1);
    if (x >= beyond) return std::numeric_limits<To>::max();
    if (x <= low) return std::numeric_limits<To>::min();
    return x == x ? static_cast<To>(x) : To(0);
  } else {
    return static_cast<To>(x);
  }
}

template <class From, class To>
void cast(int64_t n, const From* x, To* out) {
  parallel_for(n, grain_for(1), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = cast_element<To>(x[i]);
  });
}

}  // namespace plinth::kernels::cpu
