#pragma once

// The scalar functions behind the activation kernels, alone and fused (SwiGLU, bias + GELU). C is
// float or double.

#include <numbers>

#include "kernels/vector_math.h"

namespace plinth::kernels::cpu {

template <class C>
PLINTH_INLINE C gelu(C x) {
  constexpr C kInverseSqrt2 = C(1 / std::numbers::sqrt2);
  return C(0.5) * x * (1 + math::erf(x * kInverseSqrt2));
}

// Phi(x) + x phi(x)
template <class C>
PLINTH_INLINE C gelu_gradient(C x) {
  constexpr C kInverseSqrt2 = C(1 / std::numbers::sqrt2);
  constexpr C kInverseSqrt2Pi = C(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
  const C cdf = C(0.5) * (1 + math::erf(x * kInverseSqrt2));
  return cdf + x * kInverseSqrt2Pi * math::exp(C(-0.5) * x * x);
}

template <class C>
inline constexpr C kGeluTanhScale = C(2 * std::numbers::inv_sqrtpi / std::numbers::sqrt2);
template <class C>
inline constexpr C kGeluTanhCubic = C(0.044715);

template <class C>
PLINTH_INLINE C gelu_tanh(C x) {
  const C u = kGeluTanhScale<C> * x * (1 + kGeluTanhCubic<C> * x * x);
  return C(0.5) * x * (1 + math::tanh(u));
}

template <class C>
PLINTH_INLINE C gelu_tanh_gradient(C x) {
  const C u = kGeluTanhScale<C> * x * (1 + kGeluTanhCubic<C> * x * x);
  const C du = kGeluTanhScale<C> * (1 + 3 * kGeluTanhCubic<C> * x * x);
  const C t = math::tanh(u);
  return C(0.5) * (1 + t) + C(0.5) * x * (1 - t * t) * du;
}

template <class C>
PLINTH_INLINE C silu(C x) {
  return x * math::sigmoid(x);
}

template <class C>
PLINTH_INLINE C silu_gradient(C x) {
  const C s = math::sigmoid(x);
  return s * (1 + x * (1 - s));
}

}  // namespace plinth::kernels::cpu
