#pragma once

// The innermost product of the CPU kernels: a tile of c, R rows by N vectors, held in registers
// while
//   c[i, j] += sum_p a[i, p] b[p, j]
// runs over p. Each step loads N vectors of b and broadcasts R elements of a for R x N
// multiply-adds, so arithmetic, not loads, is the bound. One term is added at a time, in the order
// of p, whatever R and N: an element's bits do not depend on the tile that it falls in.

#include <cstdint>
#include <type_traits>

#include "kernels/simd.h"
#include "kernels/types.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace plinth::kernels::cpu {

#ifdef __AVX512F__
inline constexpr int kTileRows = 14;  // 32 registers: 28 of c, 2 of b, 1 of a
#else
inline constexpr int kTileRows = 6;  // 16 registers: 12 of c, 2 of b, 1 of a
#endif
inline constexpr int kTileVectors = 2;
template <class C>
inline constexpr int kTileColumns = kTileVectors* kLanes<C>;

// How a product's operands are stored for the tile: as the compute type itself, or, where the
// machine multiplies pairs of bfloat16 into float32, as two consecutive k in one 32-bit word.
template <class C>
struct Scalars {
  using Compute = C;
  using Packed = C;
  static constexpr int kPerPacked = 1;
  [[gnu::always_inline]] static Vec<C> multiply_add(Vec<C> a, Vec<C> b, Vec<C> sum) {
    return a * b + sum;
  }
};

#ifdef __AVX512BF16__
struct BFloat16Pairs {
  using Compute = float;
  using Packed = uint32_t;
  static constexpr int kPerPacked = 2;
  [[gnu::always_inline]] static Vec<float> multiply_add(Vec<uint32_t> a, Vec<uint32_t> b,
                                                        Vec<float> sum) {
    return reinterpret_cast<Vec<float>>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                                                         reinterpret_cast<__m512bh>(a),
                                                         reinterpret_cast<__m512bh>(b)));
  }
};
#endif

// An element where a wider or unaligned type may lie: two bfloat16 read as one word.
template <class P>
using Loose [[gnu::may_alias, gnu::aligned(2)]] = P;

// The sums of one tile. Strides are in packed elements; callers give constants where they can,
// which the inlined loop turns into immediate offsets.
template <class Format, int R, int N>
struct RegisterTile {
  using C = typename Format::Compute;
  using P = typename Format::Packed;
  static constexpr int kWidth = N * kLanes<C>;
  Vec<C> sum[R][N];

  [[gnu::always_inline]] void clear() {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) sum[i][j] = Vec<C>{};
  }

  // Adds the product over p in [0, k).
  [[gnu::always_inline]] void multiply(int64_t k, const P* a, int64_t a_row, int64_t a_column,
                                       const P* b, int64_t b_row) {
    for (int64_t p = 0; p < k; ++p, a += a_column, b += b_row) {
      Vec<P> b_vector[N];
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) b_vector[j] = load(b + j * kLanes<P>);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) {
        const Vec<P> a_vector = broadcast<P>(*reinterpret_cast<const Loose<P>*>(a + i * a_row));
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j)
          sum[i][j] = Format::multiply_add(a_vector, b_vector[j], sum[i][j]);
      }
    }
  }

  [[gnu::always_inline]] void read(const C* c, int64_t c_row) {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) sum[i][j] = load(c + i * c_row + j * kLanes<C>);
  }

  // Every row begins as a copy of `row`.
  [[gnu::always_inline]] void set_rows(const C* row) {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) sum[i][j] = load(row + j * kLanes<C>);
  }

  [[gnu::always_inline]] void write(C* c, int64_t c_row) const {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) store(c + i * c_row + j * kLanes<C>, sum[i][j]);
  }

  [[gnu::always_inline]] void add_to(C* c, int64_t c_row) const {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) {
        C* at = c + i * c_row + j * kLanes<C>;
        store(at, load(at) + sum[i][j]);
      }
  }
};

// Calls body(std::integral_constant<int, rows>) for a runtime 1 <= rows <= Most.
template <int Most, class Body>
[[gnu::always_inline]] inline void with_rows(int rows, Body&& body) {
  if constexpr (Most > 1) {
    if (rows < Most) return with_rows<Most - 1>(rows, body);
  }
  body(std::integral_constant<int, Most>{});
}

}  // namespace plinth::kernels::cpu
