#pragma once

// Transposition of a square of vector registers.

#include <utility>

#include "kernels/simd.h"

namespace plinth::kernels::cpu {

namespace detail {

// Where lane i of a merged vector comes from: of each pair of blocks, `Half` takes the first (0) or
// second (1) of x, then the same of y, which shuffle indices number from `Lanes` on.
template <int Lanes, int Block, int Half>
constexpr int source_lane(int i) {
  const int in_pair = i % (2 * Block);
  const int base = i - in_pair + Half * Block;
  return in_pair < Block ? base + in_pair : Lanes + base + in_pair - Block;
}

template <int Block, int Half, class C, int... I>
[[gnu::always_inline]] inline Vec<C> merge(Vec<C> x, Vec<C> y, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(x, y, source_lane<kLanes<C>, Block, Half>(I)...);
}

// Swaps the off-diagonal blocks of each 2 Block square, then does so within the blocks.
template <int Block, class C>
[[gnu::always_inline]] inline void transpose_blocks(Vec<C>* rows) {
  constexpr auto lanes = std::make_integer_sequence<int, kLanes<C>>{};
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<C>; ++i) {
    if (i & Block) continue;
    const Vec<C> x = rows[i], y = rows[i + Block];
    rows[i] = merge<Block, 0, C>(x, y, lanes);
    rows[i + Block] = merge<Block, 1, C>(x, y, lanes);
  }
  if constexpr (Block > 1) transpose_blocks<Block / 2, C>(rows);
}

}  // namespace detail

// rows[i][j] becomes rows[j][i], for kLanes<C> rows.
template <class C>
[[gnu::always_inline]] inline void transpose(Vec<C>* rows) {
  if constexpr ((kLanes<C>) > 1) detail::transpose_blocks<kLanes<C> / 2, C>(rows);
}

}  // namespace plinth::kernels::cpu
