#pragma once

// Matrices of a warp: ldmatrix, stmatrix, mma.sync. All 32 lanes must meet.

#include "kernels/device/emulate/pointers.h"
#include "kernels/types.h"

namespace plinth::device {

namespace detail {

// The element types of products.
enum class Format : uint8_t { BFloat16, Float16, TensorFloat32 };

template <class T>
constexpr Format format_of() {
  if constexpr (std::is_same_v<T, float>) return Format::TensorFloat32;
  if constexpr (std::is_same_v<T, Float16>) return Format::Float16;
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, Float16> ||
                std::is_same_v<T, BFloat16>);
  return Format::BFloat16;
}

// A 16-bit element's value.
inline float value_of(uint16_t bits, Format format) {
  if (format == Format::BFloat16) return std::bit_cast<BFloat16>(bits);
  return std::bit_cast<Float16>(bits);
}

// `registers` has one for each of `count` matrices.
void load_matrices(uint32_t* registers, int count, const void* row, bool transposed, Location at);
void store_matrices(const uint32_t* registers, int count, void* row, bool transposed, Location at);
void multiply(float* d, const uint32_t* a, const uint32_t* b, Format format, Location at);

}  // namespace detail

// ldmatrix: n = 1, 2 or 4 matrices of 8 x 8 elements of 16 bits. Lane 8 m + r gives the address of
// row r of matrix m, 8 elements aligned to 16 bytes; lanes from 8 n on give none. Register m of
// lane l gets elements (l / 4, 2 (l % 4)) and (l / 4, 2 (l % 4) + 1) of matrix m.
template <int n, class T>
void load_matrix(uint32_t (&to)[n], Shared<T> row, Location at = Location::current()) {
  static_assert(sizeof(T) == 2 && (n == 1 || n == 2 || n == 4));
  detail::load_matrices(to, n, row.raw(), false, at);
}
// The same of each matrix transposed: elements (2 (l % 4), l / 4) and (2 (l % 4) + 1, l / 4).
template <int n, class T>
void load_matrix_transposed(uint32_t (&to)[n], Shared<T> row, Location at = Location::current()) {
  static_assert(sizeof(T) == 2 && (n == 1 || n == 2 || n == 4));
  detail::load_matrices(to, n, row.raw(), true, at);
}

// stmatrix (sm_90): the opposite way.
template <int n, class T>
void store_matrix(Shared<T> row, const uint32_t (&from)[n], Location at = Location::current()) {
  static_assert(sizeof(T) == 2 && (n == 1 || n == 2 || n == 4));
  detail::store_matrices(from, n, row.raw(), false, at);
}
template <int n, class T>
void store_matrix_transposed(Shared<T> row, const uint32_t (&from)[n],
                             Location at = Location::current()) {
  static_assert(sizeof(T) == 2 && (n == 1 || n == 2 || n == 4));
  detail::store_matrices(from, n, row.raw(), true, at);
}

// mma.sync: d += a b with a of 16 x 16 elements, b of 16 x 8, d of 16 x 8 in float32. With
// g = lane / 4 and t = lane % 4 a lane holds
//
//   a[0] = (g, 2t), (g, 2t + 1)      a[1] the same of row g + 8
//   a[2] = (g, 2t + 8), (g, 2t + 9)  a[3] the same of row g + 8
//   b[0] = (2t, g), (2t + 1, g)      b[1] = (2t + 8, g), (2t + 9, g)
//   d[0], d[1] = (g, 2t), (g, 2t + 1)   d[2], d[3] the same of row g + 8
//
// the first of a pair in the lower half. With T = float the inner dimension is 8 and elements are
// rounded towards zero to TF32, one a register: a[0] = (g, t), a[1] = (g + 8, t), a[2] = (g, t +
// 4), a[3] = (g + 8, t + 4); b[0] = (t, g), b[1] = (t + 4, g).
template <class T>
void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
         Location at = Location::current()) {
  detail::multiply(d, a, b, detail::format_of<T>(), at);
}

// Two elements in a register, each rounded to nearest even.
template <class T>
uint32_t pack(float low, float high) {
  return std::bit_cast<uint16_t>(T(low)) | static_cast<uint32_t>(std::bit_cast<uint16_t>(T(high)))
                                               << 16;
}

}  // namespace plinth::device
