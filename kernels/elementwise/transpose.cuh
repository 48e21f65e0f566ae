#pragma once

// A copy whose output runs along one dimension and whose input along another. Only for copy.cu.
//
// A block moves a tile through shared memory: it reads rows of the input and writes rows of the
// output, 32 lanes beside each other on either side. The tile's rows are one word longer than their
// elements, so that a column lies in 32 different banks.

#include "kernels/device_loop.cuh"

namespace plinth::kernels::cuda {

// The output's inner dimension is `loop`'s last; the input's inner one is `across`.
inline int dimension_across(const Loop<2>& loop) {
  for (int d = loop.dims - 2; d >= 0; --d) {
    if (loop.stride[1][d] == 1) return d;
  }
  return -1;
}

// Whether a tile is worth it: both sides run along rows of at least 16 elements, in different
// dimensions.
inline bool is_transpose(const Loop<2>& loop) {
  const int across = dimension_across(loop);
  return loop.inner_stride(0) == 1 && loop.inner_stride(1) > 1 && loop.inner() >= 16 &&
         across >= 0 && loop.size[across] >= 16 && elements(loop) < (int64_t{1} << 31);
}

template <class U>
struct Tile {
  static constexpr int kSide = sizeof(U) <= 2 ? 64 : 32;
  static constexpr int kPitch = kSide + (sizeof(U) < 4 ? 4 / static_cast<int>(sizeof(U)) : 1);
  static constexpr size_t kBytes = size_t{kSide} * kPitch * sizeof(U);
};
constexpr uint32_t kTileThreads = 256;

// What a block needs to know: the two dimensions of its tile, and where the tile lies.
struct Transposition {
  int64_t inner = 0, across = 0;       // sizes
  int64_t input_stride = 0;            // of the input along the output's inner dimension
  int64_t output_stride = 0;           // of the output along the input's
  Division tiles_inner, tiles_across;  // tiles along each
  DeviceLoop<2> outer;                 // all other dimensions
};

template <class U>
PLINTH_KERNEL void transpose_kernel(Transposition t, Global<const U> x, Global<U> out) {
  constexpr int kSide = Tile<U>::kSide, kPitch = Tile<U>::kPitch, kRows = kTileThreads / 32;
  const Shared<U> tile = shared_array<U>(0, size_t{kSide} * kPitch);
  const uint32_t block = block_index().x;
  const uint32_t row_of_tiles = t.tiles_inner.quotient(block);
  const uint32_t outer = t.tiles_across.quotient(row_of_tiles);
  const int64_t i0 = static_cast<int64_t>(block - row_of_tiles * t.tiles_inner.divisor) * kSide;
  const int64_t a0 = static_cast<int64_t>(row_of_tiles - outer * t.tiles_across.divisor) * kSide;
  const auto at = t.outer.offsets(outer);
  const int lane = static_cast<int>(lane_index()), warp = static_cast<int>(warp_index());

  const Global<const U> from = x + (at.of[1] + i0 * t.input_stride + a0);
  PLINTH_UNROLL
  for (int i = warp; i < kSide; i += kRows) {
    PLINTH_UNROLL
    for (int a = lane; a < kSide; a += 32) {
      if (i0 + i < t.inner && a0 + a < t.across)
        tile[i * kPitch + a] = from[i * t.input_stride + a];
    }
  }
  block_sync();
  const Global<U> to = out + (at.of[0] + a0 * t.output_stride + i0);
  PLINTH_UNROLL
  for (int a = warp; a < kSide; a += kRows) {
    PLINTH_UNROLL
    for (int i = lane; i < kSide; i += 32) {
      if (i0 + i < t.inner && a0 + a < t.across) to[a * t.output_stride + i] = tile[i * kPitch + a];
    }
  }
}

template <class U>
void transpose_copy(void* stream, const Loop<2>& loop, const U* x, U* out) {
  const int across = dimension_across(loop), inner = loop.dims - 1;
  Loop<2> outer;
  for (int d = 0; d < inner; ++d) {
    if (d == across) continue;
    outer.size[outer.dims] = loop.size[d];
    for (int k = 0; k < 2; ++k) outer.stride[k][outer.dims] = loop.stride[k][d];
    ++outer.dims;
  }
  constexpr int64_t kSide = Tile<U>::kSide;
  const int64_t tiles_inner = (loop.size[inner] + kSide - 1) / kSide;
  const int64_t tiles_across = (loop.size[across] + kSide - 1) / kSide;
  Transposition t{loop.size[inner],
                  loop.size[across],
                  loop.stride[1][inner],
                  loop.stride[0][across],
                  Division(tiles_inner),
                  Division(tiles_across),
                  device_loop(simplified(outer), 1)};
  const auto blocks = static_cast<uint32_t>(tiles_inner * tiles_across * elements(outer));
  launch("transpose", transpose_kernel<U>, {{blocks}, {kTileThreads}, Tile<U>::kBytes},
         static_cast<Stream>(stream), t, x, out);
}

}  // namespace plinth::kernels::cuda
