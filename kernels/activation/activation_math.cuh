#pragma once

// The functions behind the GPU's activation kernels, alone and fused (SwiGLU, bias + GELU), for
// elements of T, on values of compute_t<T>: kernels/activation/activation.h has the formulas.

#include <cmath>
#include <numbers>

#include "kernels/device/device.h"

namespace plinth::kernels::cuda {

using namespace plinth::device;

// The normal distribution function at x, and exp(-x^2 / 2).
template <class C>
struct Normal {
  C distribution, exponential;
};

// For 16-bit T the tail comes from the exponential, by formula 7.1.26 of Abramowitz & Stegun,
// Handbook of Mathematical Functions: within 1e-7, and half the operations of erf.
template <class T>
PLINTH_DEVICE Normal<compute_t<T>> normal(compute_t<T> x) {
  using C = compute_t<T>;
  constexpr C kHalfSqrt2 = C(std::numbers::sqrt2 / 2);
  const C exponential = exp_as<T>(C(-0.5) * x * x);
  if constexpr (sizeof(T) == 2) {
    const float t = fast_reciprocal(1 + 0.3275911f * kHalfSqrt2 * std::fabs(x));
    const float series =
        t * (0.254829592f +
             t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    const float tail = 0.5f * series * exponential;
    return {x < 0 ? tail : 1 - tail, exponential};
  } else {
    return {C(0.5) * (1 + std::erf(x * kHalfSqrt2)), exponential};
  }
}

template <class T>
struct Gelu {
  using C = compute_t<T>;
  PLINTH_DEVICE static C value(C x) { return x * normal<T>(x).distribution; }
  // Phi(x) + x phi(x)
  PLINTH_DEVICE static C gradient(C x) {
    constexpr C kInverseSqrt2Pi = C(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
    const Normal<C> n = normal<T>(x);
    return n.distribution + x * n.exponential * kInverseSqrt2Pi;
  }
};

// (1 + tanh u) / 2 = sigmoid(2 u), so that one exponential gives the value and the gradient.
template <class T>
struct GeluTanh {
  using C = compute_t<T>;
  static constexpr double kScale = 4 * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  static constexpr double kCubic = 0.044715;

  // x^2, but for an x whose sigmoid is 0 or 1 in any type: there it would overflow, and the
  // infinity times 1 - s = 0 be NaN. Of a NaN it is a number, and the x beside it remains.
  PLINTH_DEVICE static C square(C x) { return std::fmin(x * x, C(1024)); }
  PLINTH_DEVICE static C value(C x) {
    return x * sigmoid_as<T>(x * (square(x) * C(kScale * kCubic) + C(kScale)));
  }
  PLINTH_DEVICE static C gradient(C x) {
    const C s = sigmoid_as<T>(x * (square(x) * C(kScale * kCubic) + C(kScale)));
    const C du = square(x) * C(3 * kScale * kCubic) + C(kScale);
    return s + s * (1 - s) * x * du;  // from the left: x du may overflow
  }
};

template <class T>
struct GeluQuick {
  using C = compute_t<T>;
  static constexpr C kSlope = C(1.702);

  PLINTH_DEVICE static C value(C x) { return x * sigmoid_as<T>(x * kSlope); }
  PLINTH_DEVICE static C gradient(C x) {
    const C s = sigmoid_as<T>(x * kSlope);
    return s + s * (1 - s) * x * kSlope;  // from the left: x slope may overflow
  }
};

template <class T>
struct Silu {
  using C = compute_t<T>;
  PLINTH_DEVICE static C value(C x) { return x * sigmoid_as<T>(x); }
  PLINTH_DEVICE static C gradient(C x) {
    const C s = sigmoid_as<T>(x);
    return s + s * (1 - s) * x;
  }
};

}  // namespace plinth::kernels::cuda
