#pragma once

// Functions of single elements that need more than an operator, the same on CPU and GPU. C is a
// compute type.

#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/types.h"

namespace plinth::kernels {

// Sign of x; 0 for 0, NaN for NaN.
template <class C>
PLINTH_HOST_DEVICE C sign(C x) {
  if constexpr (std::is_unsigned_v<C>) {
    return x > 0;
  } else {
    const C magnitude = static_cast<C>((x > 0) - (x < 0));
    return x == x ? magnitude : x;
  }
}

template <class C>
PLINTH_HOST_DEVICE C absolute(C x) {
  if constexpr (std::is_unsigned_v<C>) {
    return x;
  } else if constexpr (std::is_integral_v<C>) {
    return x < 0 ? static_cast<C>(-x) : x;
  } else {
    return std::fabs(x);
  }
}

// Integer arithmetic wraps: signed overflow would be undefined.
template <class C, class F>
PLINTH_HOST_DEVICE C wrapping(C a, C b, F f) {
  if constexpr (std::is_integral_v<C>) {
    using U = std::make_unsigned_t<C>;
    return static_cast<C>(f(static_cast<U>(a), static_cast<U>(b)));
  } else {
    return f(a, b);
  }
}

// An integer over 0 gives 0.
template <class C>
PLINTH_HOST_DEVICE C divide(C a, C b) {
  if constexpr (std::is_integral_v<C>) {
    // The most negative value over -1 has no quotient; multiplying wraps to itself, as the
    // hardware's own arithmetic does.
    if (b == 0) return 0;
    if constexpr (std::is_signed_v<C>) {
      if (b == C(-1))
        return static_cast<C>(std::make_unsigned_t<C>(0) - static_cast<std::make_unsigned_t<C>>(a));
    }
  }
  return static_cast<C>(a / b);
}

template <class C>
PLINTH_HOST_DEVICE C power(C a, C b) {
  if constexpr (std::is_integral_v<C>) {
    return static_cast<C>(std::pow(static_cast<double>(a), static_cast<double>(b)));
  } else {
    return std::pow(a, b);
  }
}

// A NaN among a and b is the result.
template <class C>
PLINTH_HOST_DEVICE C maximum(C a, C b) {
  return a != a || a > b ? a : b;
}
template <class C>
PLINTH_HOST_DEVICE C minimum(C a, C b) {
  return a != a || a < b ? a : b;
}

// Converting a float outside an integer's range is undefined in C++: it gives the nearest bound
// here, and NaN gives 0.
template <class To, class C>
PLINTH_HOST_DEVICE To to_integer(C value) {
  constexpr To lowest = std::numeric_limits<To>::min(), highest = std::numeric_limits<To>::max();
  constexpr C low = static_cast<C>(lowest), high = static_cast<C>(highest);
  if (!(value >= low)) return value < low ? lowest : To(0);
  return value >= high ? highest : static_cast<To>(value);
}

// Narrow floats are reached through float32; bool is x != 0, true for NaN.
template <class To, class C>
PLINTH_HOST_DEVICE To convert(C value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<C>) {
    return to_integer<To>(value);
  } else {
    return static_cast<To>(static_cast<compute_t<To>>(value));
  }
}

}  // namespace plinth::kernels
