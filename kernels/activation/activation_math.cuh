#pragma once

// The functions behind the GPU's activation kernels, alone and fused (SwiGLU, bias + GELU), for
// elements of T, on values of compute_t<T>: kernels/activation/activation.h has the formulas.

#include <cmath>
#include <numbers>

#include "kernels/device/device.h"

namespace plinth::kernels::cuda {

using namespace plinth::device;

template <class T>
struct Gelu {
  using C = compute_t<T>;
  static constexpr C kHalfSqrt2 = C(std::numbers::sqrt2 / 2);
  static constexpr C kInverseSqrt2Pi = C(std::numbers::inv_sqrtpi / std::numbers::sqrt2);

  PLINTH_DEVICE static C distribution(C x) { return C(0.5) * (1 + std::erf(x * kHalfSqrt2)); }

  PLINTH_DEVICE static C value(C x) { return x * distribution(x); }
  PLINTH_DEVICE static C gradient(C x) {
    return distribution(x) + x * exp_as<T>(C(-0.5) * x * x) * kInverseSqrt2Pi;
  }
};

// (1 + tanh u) / 2 = sigmoid(2 u), so that one exponential gives the value and the gradient.
template <class T>
struct GeluTanh {
  using C = compute_t<T>;
  static constexpr double kScale = 4 * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  static constexpr double kCubic = 0.044715;

  PLINTH_DEVICE static C value(C x) {
    return x * sigmoid_as<T>(x * (x * x * C(kScale * kCubic) + C(kScale)));
  }
  PLINTH_DEVICE static C gradient(C x) {
    const C square = x * x;
    const C s = sigmoid_as<T>(x * (square * C(kScale * kCubic) + C(kScale)));
    const C du = square * C(3 * kScale * kCubic) + C(kScale);
    return s + s * (1 - s) * (x * du);
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
