#pragma once

// Products with so few rows of a that packing b would cost more than the product: one token's worth
// of a linear layer while generating. They are bound by reading b once.

#include <algorithm>

#include "kernels/convert.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/register_tile.h"
#include "kernels/parallel.h"
#include "kernels/rows.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu::few_rows {

inline constexpr int kMostRows = 4;

// Sums of M rows of a times N rows of b^T along contiguous k: lanes first, then across lanes.
template <int M, int N, class C>
void dots(int64_t k, const C* a, int64_t a_row, const C* const* b, C (&sums)[M][N]) {
  Vec<C> lanes[M][N] = {};
  int64_t p = 0;
  for (; p + kLanes<C> <= k; p += kLanes<C>) {
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) {
      const Vec<C> b_vector = load(b[j] + p);
#pragma GCC unroll 4
      for (int i = 0; i < M; ++i) lanes[i][j] += load(a + i * a_row + p) * b_vector;
    }
  }
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) {
      C sum = 0;
      for (int l = 0; l < kLanes<C>; ++l) sum += lanes[i][j][l];
      for (int64_t q = p; q < k; ++q) sum += a[i * a_row + q] * b[j][q];
      sums[i][j] = sum;
    }
  }
}

// c for b whose k is contiguous (row stride 1): dot products.
template <int M, class T>
void by_dots(const MatmulDesc& d, const compute_t<T>* a, const T* b, T* c, const T* bias) {
  using C = compute_t<T>;
  constexpr int kColumns = 4;
  const int64_t groups = (d.n + kColumns - 1) / kColumns;
  parallel_for(groups, grain_for(d.k / 4), [&](int64_t begin, int64_t end) {
    static thread_local Scratch scratch;
    C* wide = is_wide<T> ? nullptr : scratch.get<C>(kColumns * d.k);
    for (int64_t j = begin * kColumns; j < std::min(d.n, end * kColumns); j += kColumns) {
      const int columns = static_cast<int>(std::min<int64_t>(kColumns, d.n - j));
      const C* rows[kColumns];
      for (int x = 0; x < kColumns; ++x) {
        const T* row = b + (j + std::min(x, columns - 1)) * d.b[2];
        if constexpr (is_wide<T>) {
          rows[x] = row;
        } else {
          widen(d.k, row, wide + x * d.k);
          rows[x] = wide + x * d.k;
        }
      }
      C sums[M][kColumns];
      dots<M, kColumns>(d.k, a, d.k, rows, sums);
      for (int i = 0; i < M; ++i) {
        for (int x = 0; x < columns; ++x) {
          T& to = c[i * d.c[1] + (j + x) * d.c[2]];
          C sum = sums[i][x];
          if (bias != nullptr) sum += static_cast<C>(bias[j + x]);
          if (d.accumulate) sum += static_cast<C>(to);
          to = static_cast<T>(sum);
        }
      }
    }
  });
}

// c for b whose columns are contiguous: sums of scaled rows of b, a strip of columns in registers.
template <int M, class T>
void by_rows(const MatmulDesc& d, const T* a, const T* b, T* c, const T* bias) {
  constexpr int kVectors = 4;
  using Tile = RegisterTile<Scalars<T>, M, kVectors>;
  const int64_t strips = (d.n + Tile::kWidth - 1) / Tile::kWidth;
  parallel_for(strips, grain_for(d.k * kVectors), [&](int64_t begin, int64_t end) {
    for (int64_t j = begin * Tile::kWidth; j < std::min(d.n, end * Tile::kWidth);
         j += Tile::kWidth) {
      const int64_t columns = std::min<int64_t>(Tile::kWidth, d.n - j);
      T sums[M][Tile::kWidth] = {};
      if (columns == Tile::kWidth) {
        Tile tile;
        tile.clear();
        tile.multiply(d.k, a, d.a[1], d.a[2], b + j, d.b[1]);
        tile.write(sums[0], Tile::kWidth);
      } else {
        for (int64_t p = 0; p < d.k; ++p)
          for (int i = 0; i < M; ++i)
            for (int64_t x = 0; x < columns; ++x)
              sums[i][x] += a[i * d.a[1] + p * d.a[2]] * b[p * d.b[1] + j + x];
      }
      for (int i = 0; i < M; ++i) {
        for (int64_t x = 0; x < columns; ++x) {
          T& to = c[i * d.c[1] + (j + x) * d.c[2]];
          to = sums[i][x] + (bias != nullptr ? bias[j + x] : T(0)) + (d.accumulate ? to : T(0));
        }
      }
    }
  });
}

// Computes the product if it is of this kind, else returns false.
template <class T>
bool matmul(const MatmulDesc& d, const T* a, const T* b, T* c, const T* bias) {
  using C = compute_t<T>;
  if (d.m > kMostRows || d.m <= 0) return false;
  if (d.b[1] == 1 && d.k > 1) {
    static thread_local Scratch scratch;
    C* wide = scratch.get<C>(d.m * d.k);
    for (int64_t i = 0; i < d.m; ++i)
      for (int64_t p = 0; p < d.k; ++p)
        wide[i * d.k + p] = static_cast<C>(a[i * d.a[1] + p * d.a[2]]);
    with_rows<kMostRows>(static_cast<int>(d.m),
                         [&](auto rows) { by_dots<rows()>(d, wide, b, c, bias); });
    return true;
  }
  if constexpr (is_wide<T>) {
    if (d.b[2] != 1) return false;
    with_rows<kMostRows>(static_cast<int>(d.m),
                         [&](auto rows) { by_rows<rows()>(d, a, b, c, bias); });
    return true;
  }
  return false;
}

}  // namespace plinth::kernels::cpu::few_rows
