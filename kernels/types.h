#pragma once

// Element types of tensors: the storage formats, and what each computes in.

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

// These types mean the same in device code.
#if defined(__CUDACC__)
#include "kernels/device/ptx/convert.h"
#define PLINTH_HOST_DEVICE __host__ __device__
#else
#define PLINTH_HOST_DEVICE
#endif

namespace plinth {

// bfloat16: float32's upper half. Conversion from float32 rounds to nearest even, keeps NaN.
struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  PLINTH_HOST_DEVICE BFloat16(float value) {
#if defined(__CUDA_ARCH__)
    bits = static_cast<uint16_t>(device::bfloat16_pair(value, 0.0f));
#else
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet_nan = (u >> 16) | 0x40u;
    bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
#endif
  }
  PLINTH_HOST_DEVICE operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

// IEEE 754 binary16, rounded to nearest even.
struct Float16 {
  uint16_t bits = 0;

  Float16() = default;
  PLINTH_HOST_DEVICE Float16(float value) : bits(from_float(value)) {}
  PLINTH_HOST_DEVICE operator float() const { return to_float(bits); }

 private:
  PLINTH_HOST_DEVICE static uint16_t from_float(float value);
  PLINTH_HOST_DEVICE static float to_float(uint16_t bits);
};

// 8-bit floats of Micikevicius et al. 2022 (arXiv 2209.05433), Table 1. e4m3 has no infinity, its
// largest value is 448; e5m2 follows IEEE 754, its largest finite value is 57344. Conversion from
// float32 rounds to nearest even and saturates, as training with scaled float8 expects.
struct Float8_e4m3 {
  uint8_t bits = 0;

  Float8_e4m3() = default;
  PLINTH_HOST_DEVICE Float8_e4m3(float value);
  PLINTH_HOST_DEVICE operator float() const;
};

struct Float8_e5m2 {
  uint8_t bits = 0;

  Float8_e5m2() = default;
  PLINTH_HOST_DEVICE Float8_e5m2(float value);
  PLINTH_HOST_DEVICE operator float() const;
};

// The type in which a kernel computes on elements stored as T: float64 stays itself, every narrower
// float computes in float32.
template <class T>
struct ComputeType {
  using type = T;
};
template <>
struct ComputeType<BFloat16> {
  using type = float;
};
template <>
struct ComputeType<Float16> {
  using type = float;
};
template <>
struct ComputeType<Float8_e4m3> {
  using type = float;
};
template <>
struct ComputeType<Float8_e5m2> {
  using type = float;
};
template <class T>
using compute_t = typename ComputeType<T>::type;

PLINTH_HOST_DEVICE inline uint16_t Float16::from_float(float value) {
#if defined(__CUDA_ARCH__)
  return static_cast<uint16_t>(device::float16_pair(value, 0.0f));
#else
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (u >> 16) & 0x8000u;
  const uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // Adding 0.5 leaves the subnormal's bits, rounded by the adder, at the mantissa's end.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | (rounded >> 13));
#endif
}

PLINTH_HOST_DEVICE inline float Float16::to_float(uint16_t bits) {
#if defined(__CUDA_ARCH__)
  return device::float16_value(bits);
#else
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
  // Multiplying by 2^112 moves the exponent's bias from 15 to 127 and normalises subnormals.
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
  const bool special = (bits & 0x7c00u) == 0x7c00u;
  const uint32_t result = special ? (magnitude | 0x7f800000u) : std::bit_cast<uint32_t>(scaled);
  return std::bit_cast<float>(sign | result);
#endif
}

namespace detail {

// A float with a sign bit, kMantissa mantissa bits and 7 - kMantissa exponent bits, whose exponent
// field 0 stands for subnormals; `largest` and `nan` are without the sign.
template <int kMantissa, uint8_t largest, uint8_t nan>
struct Float8 {
  static constexpr int kBias = (1 << (6 - kMantissa)) - 1;
  static constexpr int kDropped = 23 - kMantissa;  // mantissa bits of float32 that are rounded away
  // Adding it to a subnormal leaves its bits, rounded by the adder, at the mantissa's end.
  static constexpr uint32_t kAligner = static_cast<uint32_t>(127 + 24 - kBias - kMantissa) << 23;
  static constexpr uint32_t kSmallestNormal = static_cast<uint32_t>(127 + 1 - kBias) << 23;

  PLINTH_HOST_DEVICE static uint8_t encode(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t magnitude = u & 0x7fffffffu;
    const uint32_t half = (1u << (kDropped - 1)) - 1 + ((magnitude >> kDropped) & 1u);
    const uint32_t rebias = static_cast<uint32_t>(127 - kBias) << kMantissa;
    const float aligned = std::bit_cast<float>(magnitude) + std::bit_cast<float>(kAligner);
    uint32_t packed = magnitude < kSmallestNormal ? std::bit_cast<uint32_t>(aligned) - kAligner
                                                  : ((magnitude + half) >> kDropped) - rebias;
    packed = packed < largest ? packed : largest;
    packed = magnitude > 0x7f800000u ? nan : packed;
    return static_cast<uint8_t>(packed | (u >> 24 & 0x80u));
  }

  PLINTH_HOST_DEVICE static float decode(uint8_t bits) {
    const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7f) << kDropped;
    // Multiplying moves the exponent's bias to 127 and normalises subnormals.
    const float scale = std::bit_cast<float>(static_cast<uint32_t>(127 + 127 - kBias) << 23);
    const float scaled = std::bit_cast<float>(magnitude) * scale;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | static_cast<uint32_t>(bits & 0x80)
                                                                      << 24);
  }
};

using E4m3 = Float8<3, 0x7e, 0x7f>;
using E5m2 = Float8<2, 0x7b, 0x7e>;

}  // namespace detail

PLINTH_HOST_DEVICE inline Float8_e4m3::Float8_e4m3(float value)
    : bits(detail::E4m3::encode(value)) {}

PLINTH_HOST_DEVICE inline Float8_e4m3::operator float() const {
  const float value = detail::E4m3::decode(bits);
  const uint32_t nan = static_cast<uint32_t>(bits & 0x80) << 24 | 0x7fc00000u;
  return (bits & 0x7f) == 0x7f ? std::bit_cast<float>(nan) : value;
}

PLINTH_HOST_DEVICE inline Float8_e5m2::Float8_e5m2(float value)
    : bits(detail::E5m2::encode(value)) {}

PLINTH_HOST_DEVICE inline Float8_e5m2::operator float() const {
  const float value = detail::E5m2::decode(bits);
  const uint32_t magnitude = (bits & 0x7f) > 0x7c ? 0x7fc00000u : 0x7f800000u;
  const uint32_t special = static_cast<uint32_t>(bits & 0x80) << 24 | magnitude;
  return (bits & 0x7c) == 0x7c ? std::bit_cast<float>(special) : value;
}

}  // namespace plinth
