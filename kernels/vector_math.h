#pragma once

// exp, log, tanh, erf and sigmoid of float32 as straight-line code that a loop vectorises, within
// about 2 ulp, and their float64 namesakes by libm, so that one template serves both types.
//
// Special values are those of C's functions: NaN gives NaN, log(0) = -inf, log(x < 0) = NaN, exp
// overflows to inf and underflows gradually through the denormals to 0. Each function reduces its
// argument to a small interval and evaluates a polynomial whose coefficients minimise the largest
// relative error there. Branches are selects; no table is read. The compiler vectorises a loop over
// these given -fno-math-errno -fno-trapping-math (the flags of plinth_kernels).

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#define PLINTH_INLINE [[gnu::always_inline]] inline

namespace plinth::kernels::math {

namespace detail {

// 2^n for integer n in [-126, 127].
PLINTH_INLINE float power_of_two(int32_t n) {
  return std::bit_cast<float>(static_cast<uint32_t>(n + 127) << 23);
}

// c[0] + c[1] x + ... by Horner's rule.
template <class... Rest>
PLINTH_INLINE float polynomial(float x, float c0, Rest... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return c0;
  } else {
    return c0 + x * polynomial(x, rest...);
  }
}

}  // namespace detail

PLINTH_INLINE double exp(double x) {
  return std::exp(x);
}
PLINTH_INLINE double log(double x) {
  return std::log(x);
}
PLINTH_INLINE double tanh(double x) {
  return std::tanh(x);
}
PLINTH_INLINE double erf(double x) {
  return std::erf(x);
}

// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2; ln 2 is subtracted in two parts, the
// first short enough for n ln 2 to be exact. 2^n is applied in two factors, each a normal number.
PLINTH_INLINE float exp(float x) {
  constexpr float round_bias = 0x1.8p23f;  // adding it leaves round(y) in the low bits
  x = x < -104.0f ? -104.0f : x;           // e^-104 rounds to 0
  x = x > 89.0f ? 89.0f : x;               // e^89 overflows
  const float biased = x * 0x1.715476p+0f + round_bias;
  const float n = biased - round_bias;
  const float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
  const float p = detail::polynomial(r, 0x1p-1f, 0x1.555554p-3f, 0x1.55548ep-5f, 0x1.111272p-7f,
                                     0x1.6d8d54p-10f, 0x1.9f0862p-13f);
  const int32_t exponent =
      static_cast<int32_t>(std::bit_cast<uint32_t>(biased) - std::bit_cast<uint32_t>(round_bias));
  const int32_t half = exponent >> 1;
  const float scaled = ((r + r * r * p) + 1.0f) * detail::power_of_two(half);
  return scaled * detail::power_of_two(exponent - half);
}

// log x = e ln 2 + log(1 + f), x = 2^e (1 + f), 1 + f in [sqrt 1/2, sqrt 2).
PLINTH_INLINE float log(float x) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const bool tiny = x < 0x1p-126f;
  const uint32_t bits = std::bit_cast<uint32_t>(tiny ? x * 0x1p23f : x);
  // 0x3f3504f3 is sqrt(1/2): the difference's upper bits are the exponent relative to it.
  const int32_t exponent = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;
  const float f = std::bit_cast<float>(bits - (static_cast<uint32_t>(exponent) << 23)) - 1.0f;
  const float e = static_cast<float>(exponent) - (tiny ? 23.0f : 0.0f);
  const float p = detail::polynomial(f, 0x1.555548p-2f, -0x1.000006p-2f, 0x1.99a4b6p-3f,
                                     -0x1.555c4ep-3f, 0x1.233766p-3f, -0x1.fc221p-4f,
                                     0x1.e6f094p-4f, -0x1.de3bf2p-4f, 0x1.145724p-4f);
  const float square = f * f;
  const float low = f * square * p + e * 0x1.7f7d1cp-20f;
  float result = (low - 0.5f * square) + f + e * 0x1.62e4p-1f;
  result = x == 0.0f ? -infinity : result;
  result = x < 0.0f ? std::numeric_limits<float>::quiet_NaN() : result;
  return x < infinity ? result : x;
}

// An odd polynomial near 0; 1 - 2 / (e^2|x| + 1) with x's sign elsewhere.
PLINTH_INLINE float tanh(float x) {
  const float a = std::fabs(x);
  const float square = x * x;
  const float near_zero =
      x + x * square *
              detail::polynomial(square, -0x1.555554p-2f, 0x1.111066p-3f, -0x1.b9ee9p-5f,
                                 0x1.638b56p-6f, -0x1.0bf4f6p-7f, 0x1.18e1c4p-9f);
  const float far = 1.0f - 2.0f / (exp(2.0f * a) + 1.0f);
  return std::copysign(a < 0.625f ? near_zero : far, x);
}

// x (1 + P(x^2)) for |x| < 1; 1 - exp(-|x| Q(|x|)) with x's sign elsewhere, which is 1 from 4 on.
PLINTH_INLINE float erf(float x) {
  const float a = std::fabs(x);
  const float square = x * x;
  const float near_zero =
      x + x * detail::polynomial(square, 0x1.06eba8p-3f, -0x1.812746p-2f, 0x1.ce2f08p-4f,
                                 -0x1.b829a8p-6f, 0x1.5628eep-8f, -0x1.bcbe9ap-11f, 0x1.d8268ep-14f,
                                 -0x1.4383fep-17f);
  const float t = a > 4.0f ? 4.0f : a;
  const float q = detail::polynomial(t, 0x1.20e488p+0f, 0x1.45a028p-1f, 0x1.ab9a1ep-4f,
                                     -0x1.6081aap-6f, 0x1.046194p-9f, 0x1.c2d7fep-12f,
                                     -0x1.970932p-13f, 0x1.005874p-15f, -0x1.fa098ep-20f);
  const float far = 1.0f - exp(-t * q);
  return std::copysign(a < 1.0f ? near_zero : far, x);
}

// 1 / (1 + e^-x), of e^-|x| so that neither tail loses its small values.
template <class T>
PLINTH_INLINE T sigmoid(T x) {
  const T e = exp(-std::fabs(x));
  const T inverse = T(1) / (T(1) + e);
  return x < T(0) ? e * inverse : inverse;
}

}  // namespace plinth::kernels::math
