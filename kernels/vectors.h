#pragma once

// Loops over rows in vectors of the compute type (kernels/simd.h). Only for the sources of kernels:
// the width follows the flags of plinth_kernels.
//
//   for_vectors<float>(n, [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
//     sum[slot] += part.keep(load(x + j, part));
//   });
//
// `part` says how many of the vector's lanes exist: all of them (Whole), or the first few (First)
// at the end of a row, where loads fill the others with zeros and stores leave them out. `slot`
// counts 0..3 through the loop's unrolled copies, so that sums can go to separate accumulators.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/simd.h"
#include "kernels/types.h"
#include "kernels/vector_math.h"

#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif

#define PLINTH_INLINE_LAMBDA __attribute__((always_inline))

namespace plinth::kernels::cpu {

namespace detail {
template <class C, int kLanes>
struct VectorOf {
  typedef C type __attribute__((vector_size(kLanes * sizeof(C))));
};
}  // namespace detail

using VecU32 = Vec<uint32_t>;

// Parts of a vector

namespace detail {
template <class V, size_t... I>
PLINTH_INLINE V lane_indices(std::index_sequence<I...>) {
  return V{I...};
}
}  // namespace detail

struct Whole {
  template <class V>
  PLINTH_INLINE V keep(V v) const {
    return v;
  }
};

struct First {
  int64_t count;

  // v with zeros in the lanes that do not exist.
  template <class V>
  PLINTH_INLINE V keep(V v) const {
    return select(v, V{});
  }
  template <class V>
  PLINTH_INLINE V select(V v, V otherwise) const {
    constexpr int lanes = sizeof(V) / sizeof(v[0]);
    const auto index = detail::lane_indices<decltype(v < v)>(std::make_index_sequence<lanes>{});
    return index < static_cast<int>(count) ? v : otherwise;
  }
};

// Loads and stores; both convert

PLINTH_INLINE Vec<float> load(const float* p, Whole) {
  return load(p);
}
PLINTH_INLINE Vec<double> load(const double* p, Whole) {
  return load(p);
}

PLINTH_INLINE Vec<float> load(const BFloat16* p, Whole) {
#if defined(__AVX512F__)  // the maskz forms, here and below, since GCC 12 warns of the plain ones
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return std::bit_cast<Vec<float>>((VecU32)_mm512_maskz_cvtepu16_epi32(0xffff, bits) << 16);
#else
  typename detail::VectorOf<uint16_t, kLanes<float>>::type bits;
  std::memcpy(&bits, p, sizeof bits);
  return std::bit_cast<Vec<float>>(__builtin_convertvector(bits, VecU32) << 16);
#endif
}

PLINTH_INLINE Vec<float> load(const Float16* p, Whole) {
#if defined(__AVX512F__)
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_maskz_cvtph_ps(0xffff, half);
#elif defined(__F16C__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  Vec<float> v;
  for (int l = 0; l < kLanes<float>; ++l) v[l] = p[l];
  return v;
#endif
}

namespace detail {

// The first `count` elements of a vector from memory, zeros after them; and back to memory. Masks
// where there are any, since a copy of few bytes is a function call.
template <class T>
PLINTH_INLINE void read_first(const T* p, int64_t count, T (&lanes)[kLanes<compute_t<T>>]) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto mask = static_cast<uint32_t>((1u << count) - 1);
  if constexpr (sizeof(T) == 8) {
    _mm512_storeu_si512(lanes, _mm512_maskz_loadu_epi64(static_cast<__mmask8>(mask), p));
  } else if constexpr (sizeof(T) == 4) {
    _mm512_storeu_si512(lanes, _mm512_maskz_loadu_epi32(static_cast<__mmask16>(mask), p));
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes),
                        _mm256_maskz_loadu_epi16(static_cast<__mmask16>(mask), p));
  }
#else
  std::fill(std::begin(lanes), std::end(lanes), T(0.0f));
  std::copy_n(p, count, lanes);
#endif
}

template <class T>
PLINTH_INLINE void write_first(T* p, int64_t count, const T (&lanes)[kLanes<compute_t<T>>]) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto mask = static_cast<uint32_t>((1u << count) - 1);
  if constexpr (sizeof(T) == 8) {
    _mm512_mask_storeu_epi64(p, static_cast<__mmask8>(mask), _mm512_loadu_si512(lanes));
  } else if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_epi32(p, static_cast<__mmask16>(mask), _mm512_loadu_si512(lanes));
  } else {
    _mm256_mask_storeu_epi16(p, static_cast<__mmask16>(mask),
                             _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes)));
  }
#else
  std::copy_n(lanes, count, p);
#endif
}

}  // namespace detail

template <class T>
PLINTH_INLINE Vec<compute_t<T>> load(const T* p, First part) {
  T lanes[kLanes<compute_t<T>>];
  detail::read_first(p, part.count, lanes);
  return load(lanes, Whole{});
}

PLINTH_INLINE void store(float* p, Vec<float> v, Whole) {
  store(p, v);
}
PLINTH_INLINE void store(double* p, Vec<double> v, Whole) {
  store(p, v);
}

// Where the processor rounds to bfloat16 itself, results below 2^-126 become zero.
PLINTH_INLINE void store(BFloat16* p, Vec<float> v, Whole) {
#if defined(__AVX512F__) && defined(__AVX512BF16__)
  const auto bits = std::bit_cast<__m256i>(_mm512_cvtneps_pbh(v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bits);
#else
  const VecU32 u = std::bit_cast<VecU32>(v);
  const VecU32 rounded = u + 0x7fffu + ((u >> 16) & 1u);
  const VecU32 result = (v == v ? rounded : u | 0x400000u) >> 16;
#if defined(__AVX512F__)
  const __m256i bits = _mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)result);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bits);
#else
  const auto bits =
      __builtin_convertvector(result, detail::VectorOf<uint16_t, kLanes<float>>::type);
  std::memcpy(static_cast<void*>(p), &bits, sizeof bits);
#endif
#endif
}

PLINTH_INLINE void store(Float16* p, Vec<float> v, Whole) {
#if defined(__AVX512F__)
  const __m256i half = _mm512_maskz_cvtps_ph(0xffff, v, _MM_FROUND_TO_NEAREST_INT);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
#elif defined(__F16C__)
  const __m128i half = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), half);
#else
  for (int l = 0; l < kLanes<float>; ++l) p[l] = Float16(v[l]);
#endif
}

template <class T>
PLINTH_INLINE void store(T* p, Vec<compute_t<T>> v, First part) {
  T lanes[kLanes<compute_t<T>>];
  store(lanes, v, Whole{});
  detail::write_first(p, part.count, lanes);
}

// Reductions across lanes, in a fixed tree

namespace detail {
template <class V, size_t... I>
PLINTH_INLINE auto lower_half(V v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v, v, I...);
}
template <class V, size_t... I>
PLINTH_INLINE auto upper_half(V v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v, v, (I + sizeof...(I))...);
}
template <class V, class Combine>
PLINTH_INLINE auto reduce(V v, Combine combine) {
  constexpr int lanes = sizeof(V) / sizeof(v[0]);
  if constexpr (lanes == 2) {
    return combine(v[0], v[1]);
  } else {
    using Half = std::make_index_sequence<lanes / 2>;
    return reduce(combine(lower_half(v, Half{}), upper_half(v, Half{})), combine);
  }
}
}  // namespace detail

template <class V>
PLINTH_INLINE auto add_lanes(V v) {
  return detail::reduce(v, [](auto a, auto b) PLINTH_INLINE_LAMBDA { return a + b; });
}
template <class V>
PLINTH_INLINE auto greatest_lane(V v) {
  return detail::reduce(v, [](auto a, auto b) PLINTH_INLINE_LAMBDA { return a > b ? a : b; });
}

// Four accumulators, added in a fixed order.
template <class C>
struct Sums {
  Vec<C> slot[4] = {};

  PLINTH_INLINE Vec<C>& operator[](int k) { return slot[k]; }
  PLINTH_INLINE C total() const { return add_lanes((slot[0] + slot[1]) + (slot[2] + slot[3])); }
};

// Calls f(j, part, slot) for the vectors of a row of n elements; see above.
template <class C, class F>
PLINTH_INLINE void for_vectors(int64_t n, F&& f) {
  constexpr int64_t w = kLanes<C>;
  using std::integral_constant;
  int64_t j = 0;
  for (; j + 4 * w <= n; j += 4 * w) {
    f(j, Whole{}, integral_constant<int, 0>{});
    f(j + w, Whole{}, integral_constant<int, 1>{});
    f(j + 2 * w, Whole{}, integral_constant<int, 2>{});
    f(j + 3 * w, Whole{}, integral_constant<int, 3>{});
  }
  for (; j + w <= n; j += w) f(j, Whole{}, integral_constant<int, 0>{});
  if (j < n) f(j, First{n - j}, integral_constant<int, 1>{});
}

// The largest of a row; NaNs are passed over, an empty row gives -infinity.
template <class T>
PLINTH_INLINE compute_t<T> row_max(int64_t n, const T* x) {
  using C = compute_t<T>;
  const Vec<C> lowest = broadcast(-std::numeric_limits<C>::infinity());
  Vec<C> m[4] = {lowest, lowest, lowest, lowest};
  for_vectors<C>(n, [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
    Vec<C> v = load(x + j, part);
    if constexpr (std::is_same_v<decltype(part), First>) v = part.select(v, lowest);
    m[slot] = v > m[slot] ? v : m[slot];
  });
  m[0] = m[0] > m[1] ? m[0] : m[1];
  m[2] = m[2] > m[3] ? m[2] : m[3];
  return greatest_lane(m[0] > m[2] ? m[0] : m[2]);
}

PLINTH_INLINE Vec<float> square_root(Vec<float> v) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xffff, v);
#else
  for (int l = 0; l < kLanes<float>; ++l) v[l] = std::sqrt(v[l]);
  return v;
#endif
}
PLINTH_INLINE Vec<double> square_root(Vec<double> v) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_pd(0xff, v);
#else
  for (int l = 0; l < kLanes<double>; ++l) v[l] = std::sqrt(v[l]);
  return v;
#endif
}

// Applies a function of single elements to each lane: for float64, whose functions are libm's.
template <class V, class F>
PLINTH_INLINE V per_lane(V v, F f) {
  for (int l = 0; l < static_cast<int>(sizeof(V) / sizeof(v[0])); ++l) v[l] = f(v[l]);
  return v;
}

}  // namespace plinth::kernels::cpu
