#pragma once

// exp, sigmoid and the normal distribution on vectors (kernels/vectors.h), for the hot loops of
// softmax and activations: each has fewer steps than the functions of kernels/vector_math.h because
// its argument or its use is narrower. float64 goes lane by lane through libm.

#include <cmath>
#include <numbers>

#include "kernels/vectors.h"

namespace plinth::kernels::cpu {

// 2^(x (scale + rest)) for x (scale + rest) <= 0; 0 below 2^-126, where it leaves the normal
// numbers. NaN gives NaN. The exponent is split into an integer n and a remainder in [-1/2, 1/2] by
// fused multiply-adds, so that the product with scale is never rounded; rest is what scale lacks to
// be exact, 0 where that does not matter.
PLINTH_INLINE Vec<float> exp2_nonpositive(Vec<float> x, float scale, float rest) {
  // Adding this leaves 127 + n in the lowest bits: the exponent field of 2^n.
  constexpr float kBias = 0x1.8p23f + 127;
  const Vec<float> biased = x * scale + kBias;
  const Vec<float> n = biased - kBias;
  Vec<float> r = x * scale - n;
  if (rest != 0) r = x * rest + r;
  Vec<float> p = r * 0x1.41fbaep-13f + 0x1.5f3e6ap-10f;
  p = p * r + 0x1.3b2d4ep-7f;
  p = p * r + 0x1.c6aee8p-5f;
  p = p * r + 0x1.ebfbdcp-3f;
  p = p * r + 0x1.62e43p-1f;
  p = p * r + 1.0f;
  const auto power = std::bit_cast<Vec<float>>(std::bit_cast<VecU32>(biased) << 23);
  return biased < kBias - 126 ? Vec<float>{} : p * power;
}

inline constexpr float kLog2E = 0x1.715476p+0f, kLog2ERest = 0x1.4ae0cp-26f;

// e^x for x <= 0, within 2 ulp; 0 below -87.3.
PLINTH_INLINE Vec<float> exp_nonpositive(Vec<float> x) {
  return exp2_nonpositive(x, kLog2E, kLog2ERest);
}
PLINTH_INLINE Vec<double> exp_nonpositive(Vec<double> x) {
  return per_lane(x, [](double v) { return std::exp(v); });
}

PLINTH_INLINE Vec<float> magnitude(Vec<float> x) {
  return std::bit_cast<Vec<float>>(std::bit_cast<VecU32>(x) & 0x7fffffffu);
}

// e^-|x|
PLINTH_INLINE Vec<float> exp_negative_magnitude(Vec<float> x) {
  return exp2_nonpositive(magnitude(x), -kLog2E, -kLog2ERest);
}
PLINTH_INLINE Vec<double> exp_negative_magnitude(Vec<double> x) {
  return per_lane(x, [](double v) { return std::exp(-std::fabs(v)); });
}

// 1 / (1 + e^-x), of e^-|x| so that neither tail loses its small values.
template <class V>
PLINTH_INLINE V sigmoid(V x) {
  const V e = exp_negative_magnitude(x);
  return (x < 0 ? e : V{} + 1) / (e + 1);
}

// The normal distribution: Phi(x), and e^(-x^2 / 2), which its density is a multiple of.
template <class V>
struct Normal {
  V distribution;
  V exponential;
};

// Phi(-z) = e^(-z^2 / 2) t P(t), t = 1 / (1 + 0.35 z), z = |x|: the scaled complementary error
// function is smooth in t on all of [0, 1]. P minimises the relative error, 3.2e-8, over z < 14.5.
PLINTH_INLINE Normal<Vec<float>> normal(Vec<float> x) {
  const Vec<float> e = exp2_nonpositive(x * x, -0.5f * kLog2E, 0);
  const Vec<float> t = 1.0f / (magnitude(x) * 0.35f + 1.0f);
  Vec<float> p = t * -0x1.ddb90ap-6f + 0x1.26f9aep-3f;
  p = p * t - 0x1.05faa8p-2f;
  p = p * t + 0x1.464968p-3f;
  p = p * t - 0x1.7c4faap-6f;
  p = p * t + 0x1.b057d2p-4f;
  p = p * t + 0x1.eac9bap-4f;
  p = p * t + 0x1.1e70c4p-3f;
  p = p * t + 0x1.1df1c6p-3f;
  const Vec<float> tail = p * t * e;
  return {x < 0 ? tail : 1.0f - tail, e};
}
PLINTH_INLINE Normal<Vec<double>> normal(Vec<double> x) {
  return {per_lane(x, [](double v) { return 0.5 * std::erfc(-v / std::numbers::sqrt2); }),
          per_lane(x, [](double v) { return std::exp(-0.5 * v * v); })};
}

// x Phi(x) = x / 2 + x c R(c^2), c = x within [-5.6, 5.6], without an exponential: R is rational of
// degrees 5 and 5, off by 3e-8. The sum cancels for negative x, so its error is absolute, 1e-6 at
// most, as that of x (1 + erf(x / sqrt 2)) / 2 in float32 is.
PLINTH_INLINE Vec<float> times_normal_distribution(Vec<float> x) {
  constexpr float kEdge = 5.6f;  // beyond, x Phi(x) is 0 or x to 1e-7
  Vec<float> c = x < -kEdge ? broadcast(-kEdge) : x;
  c = c > kEdge ? broadcast(kEdge) : c;
  const Vec<float> s = c * c;
  Vec<float> p = s * 0x1.74edfp-26f + 0x1.b5f082p-18f;
  p = p * s + 0x1.87b362p-13f;
  p = p * s + 0x1.39a682p-8f;
  p = p * s + 0x1.234868p-5f;
  p = p * s + 0x1.988448p-2f;
  Vec<float> q = s * 0x1.3cc57ap-20f + 0x1.4e37aep-14f;
  q = q * s + 0x1.0437b2p-9f;
  q = q * s + 0x1.e58012p-6f;
  q = q * s + 0x1.05ee6ep-2f;
  q = q * s + 1.0f;
  const Vec<float> inside = x * 0.5f + x * (c * p / q);
  const Vec<float> above = x > kEdge ? x : inside;
  return x < -kEdge ? Vec<float>{} : above;
}
PLINTH_INLINE Vec<double> times_normal_distribution(Vec<double> x) {
  return x * normal(x).distribution;
}

}  // namespace plinth::kernels::cpu
