#pragma once

// The dtypes of tensors, and the way from a dtype known at run time to a C++ type.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/types.h"

namespace plinth {

enum class DType : uint8_t {
  Float64,
  Float32,
  BFloat16,
  Float16,
  Float8_e4m3,
  Float8_e5m2,
  Int64,
  Int32,
  UInt8,
  Bool
};

constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::Float64:
    case DType::Int64: return 8;
    case DType::Float32:
    case DType::Int32: return 4;
    case DType::BFloat16:
    case DType::Float16: return 2;
    default: return 1;
  }
}

// "float32", "bfloat16", ...: PyTorch's names.
constexpr std::string_view name(DType dtype) {
  constexpr std::string_view names[] = {"float64",     "float32",     "bfloat16", "float16",
                                        "float8_e4m3", "float8_e5m2", "int64",    "int32",
                                        "uint8",       "bool"};
  return names[static_cast<int>(dtype)];
}

constexpr bool is_floating_point(DType dtype) {
  return dtype <= DType::Float8_e5m2;
}
constexpr bool is_integral(DType dtype) {
  return !is_floating_point(dtype) && dtype != DType::Bool;
}
constexpr bool is_float8(DType dtype) {
  return dtype == DType::Float8_e4m3 || dtype == DType::Float8_e5m2;
}

// The dtype whose elements are stored as T.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::Float64;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::Float32;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::BFloat16;
};
template <>
struct DTypeOf<Float16> {
  static constexpr DType value = DType::Float16;
};
template <>
struct DTypeOf<Float8_e4m3> {
  static constexpr DType value = DType::Float8_e4m3;
};
template <>
struct DTypeOf<Float8_e5m2> {
  static constexpr DType value = DType::Float8_e5m2;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::Int64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::Int32;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::UInt8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::Bool;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace plinth
