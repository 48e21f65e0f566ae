#pragma once

// Philox4x32-10 (kernels/philox.h) for several consecutive blocks at once: the same words, a vector
// of blocks a step. A 64-bit lane holds each 32-bit word, so that a product has its two halves in
// place; upper halves carry leftovers that the next product masks off.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/philox.h"
#include "kernels/vectors.h"

namespace plinth::kernels::cpu {

using VecU64 = Vec<uint64_t>;
inline constexpr int kPhiloxLanes = kLanes<uint64_t>;

namespace detail {
template <size_t... I>
PLINTH_INLINE void store_interleaved(VecU64 a, VecU64 b, uint32_t* out, std::index_sequence<I...>) {
  constexpr int n = kPhiloxLanes;
  const VecU64 first = __builtin_shufflevector(a, b, (I / 2 + n * (I % 2))...);
  const VecU64 second = __builtin_shufflevector(a, b, (n / 2 + I / 2 + n * (I % 2))...);
  std::memcpy(out, &first, sizeof first);
  std::memcpy(out + 2 * n, &second, sizeof second);
}
}  // namespace detail

// Writes numbers 4 * block .. 4 * (block + kPhiloxLanes) - 1 of global sample `sample`.
PLINTH_INLINE void philox_lanes(Philox2 stream, int64_t sample, int64_t block, uint32_t* out) {
  constexpr uint64_t kWord = 0xffffffffu;
  using Indices = std::make_index_sequence<kPhiloxLanes>;
  const VecU64 index = detail::lane_indices<VecU64>(Indices{}) + static_cast<uint64_t>(block);
  VecU64 c0 = index, c1 = index >> 32;
  VecU64 c2 = broadcast(static_cast<uint64_t>(sample)), c3 = c2 >> 32;
  uint32_t k0 = stream[0], k1 = stream[1];
  for (int round = 0; round < 10; ++round) {
    const VecU64 product0 = (c0 & kWord) * uint64_t{0xD2511F53u};
    const VecU64 product1 = (c2 & kWord) * uint64_t{0xCD9E8D57u};
    c0 = (product1 >> 32) ^ c1 ^ uint64_t { k0 };
    c1 = product1;
    c2 = (product0 >> 32) ^ c3 ^ uint64_t { k1 };
    c3 = product0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  detail::store_interleaved((c0 & kWord) | (c1 << 32), (c2 & kWord) | (c3 << 32), out, Indices{});
}

// Writes the numbers of `blocks` blocks from `block` on, and up to 4 * kPhiloxLanes - 4 beyond
// them.
PLINTH_INLINE void philox_fill(Philox2 stream, int64_t sample, int64_t block, int64_t blocks,
                               uint32_t* out) {
  for (int64_t b = 0; b < blocks; b += kPhiloxLanes) {
    philox_lanes(stream, sample, block + b, out + 4 * b);
  }
}

}  // namespace plinth::kernels::cpu
