#pragma once

// The functions behind the activation kernels, alone and fused (SwiGLU, bias + GELU), on vectors of
// float or double.

#include <numbers>

#include "kernels/simd_math.h"

namespace plinth::kernels::cpu {

struct Gelu {
  template <class V>
  PLINTH_INLINE static V value(V x) {
    return times_normal_distribution(x);
  }
  // Phi(x) + x phi(x)
  template <class V>
  PLINTH_INLINE static V gradient(V x) {
    using C = std::remove_cvref_t<decltype(x[0])>;
    constexpr C kInverseSqrt2Pi = C(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
    const auto n = normal(x);
    return n.distribution + x * n.exponential * kInverseSqrt2Pi;
  }
};

// (1 + tanh u) / 2 = sigmoid(2 u), so that one exponential gives the value and the gradient.
struct GeluTanh {
  static constexpr double kScale = 4 * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  static constexpr double kCubic = 0.044715;

  // x^2, but for an x whose sigmoid is 0 or 1 in any type: there it would overflow, and the
  // infinity times 1 - s = 0 be NaN.
  template <class V>
  PLINTH_INLINE static V square(V x) {
    using C = std::remove_cvref_t<decltype(x[0])>;
    const V exact = x * x;
    return exact < C(1024) ? exact : V{} + C(1024);
  }
  template <class V>
  PLINTH_INLINE static V value(V x) {
    using C = std::remove_cvref_t<decltype(x[0])>;
    return x * sigmoid(x * (square(x) * C(kScale * kCubic) + C(kScale)));
  }
  template <class V>
  PLINTH_INLINE static V gradient(V x) {
    using C = std::remove_cvref_t<decltype(x[0])>;
    const V s = sigmoid(x * (square(x) * C(kScale * kCubic) + C(kScale)));
    const V du = square(x) * C(3 * kScale * kCubic) + C(kScale);
    return s + s * (1 - s) * x * du;  // from the left: x du may overflow
  }
};

struct GeluQuick {
  static constexpr double kSlope = 1.702;

  template <class V>
  PLINTH_INLINE static V value(V x) {
    using C = std::remove_cvref_t<decltype(x[0])>;
    return x * sigmoid(x * C(kSlope));
  }
  template <class V>
  PLINTH_INLINE static V gradient(V x) {
    using C = std::remove_cvref_t<decltype(x[0])>;
    const V s = sigmoid(x * C(kSlope));
    return s + s * (1 - s) * x * C(kSlope);  // from the left: x slope may overflow
  }
};

struct Silu {
  template <class V>
  PLINTH_INLINE static V value(V x) {
    return x * sigmoid(x);
  }
  template <class V>
  PLINTH_INLINE static V gradient(V x) {
    const V s = sigmoid(x);
    return s + s * (1 - s) * x;
  }
};

}  // namespace plinth::kernels::cpu
