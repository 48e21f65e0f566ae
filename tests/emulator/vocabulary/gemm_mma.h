#pragma once

// A product by mma.sync: what an sm_80 kernel needs of the vocabulary, together.

#include "kernels/device/device.h"

namespace plinth::device {

enum class GemmMistake { None, NoCopyWait, WaitsForTooFew, NoBarrier, NoCommit, LoadsTooEarly };

// Tiles of 64 x 64, 32 of K at a time in `kStages` stages; 4 warps of 32 x 32 each.
constexpr int kGemmTile = 64, kGemmDepth = 32, kGemmStages = 3;
constexpr uint32_t kGemmTileBytes = kGemmTile * kGemmDepth * 2;
constexpr uint32_t kGemmSharedBytes = 2 * kGemmStages * kGemmTileBytes;

// Byte of the 8 elements from `k` on of a tile's row.
PLINTH_DEVICE uint32_t gemm_offset(uint32_t row, uint32_t k) {
  return swizzled(row * kGemmDepth * 2 + k * 2, Swizzle::Bytes64);
}

// Starts the copy of rows first_row.. and columns first_k.. of x, `rows` x `depth`; zeros outside.
template <class T>
PLINTH_DEVICE void gemm_load(Shared<T> tile, Global<const T> x, int64_t rows, int64_t depth,
                             int64_t first_row, int64_t first_k) {
  PLINTH_UNROLL
  for (uint32_t i = 0; i < 2; ++i) {
    const uint32_t unit = thread_index() + 128 * i, row = unit / 4, k = unit % 4 * 8;
    const bool inside = first_row + row < rows && first_k + k < depth;
    const int64_t at = inside ? (first_row + row) * depth + first_k + k : 0;
    copy_async<16>(tile + gemm_offset(row, k) / 2, x + at, inside);
  }
}

// The sums of one warp: 2 x 4 products of 16 x 8.
struct GemmSums {
  float values[2][4][4] = {};

  template <class T>
  PLINTH_DEVICE void add(Shared<T> a_tile, Shared<T> b_tile, uint32_t first_row,
                         uint32_t first_column) {
    const uint32_t lane = lane_index();
    PLINTH_UNROLL
    for (uint32_t k = 0; k < kGemmDepth; k += 16) {
      uint32_t a[2][4], b[2][4];
      PLINTH_UNROLL
      for (uint32_t i = 0; i < 2; ++i) {
        const uint32_t row = first_row + 16 * i + lane % 16;
        load_matrix(a[i], a_tile + gemm_offset(row, k + lane / 16 * 8) / 2);
        const uint32_t column = first_column + 16 * i + lane / 16 * 8 + lane % 8;
        load_matrix(b[i], b_tile + gemm_offset(column, k + lane / 8 % 2 * 8) / 2);
      }
      PLINTH_UNROLL
      for (int i = 0; i < 2; ++i) {
        PLINTH_UNROLL
        for (int j = 0; j < 4; ++j) {
          const uint32_t pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
          mma<T>(values[i][j], a[i], pair);
        }
      }
    }
  }
};

// c = a b^T for a of m x k, b of n x k; k a multiple of 8. One block a tile.
template <class T, GemmMistake mistake = GemmMistake::None>
PLINTH_KERNEL_BOUNDS(128, 4)
PLINTH_KERNEL void gemm_mma(int64_t m, int64_t n, int64_t k, Global<const T> a, Global<const T> b,
                            Global<float> c) {
  const int64_t first_row = block_index().y * kGemmTile, first_column = block_index().x * kGemmTile;
  const int steps = static_cast<int>((k + kGemmDepth - 1) / kGemmDepth);
  const auto tile = [](int step, int operand) {
    return shared_array<T>((step % kGemmStages * 2 + operand) * kGemmTileBytes, kGemmTileBytes / 2);
  };
  const auto load = [&](int step) {
    if (step < steps) {
      gemm_load(tile(step, 0), a, m, k, first_row, static_cast<int64_t>(step) * kGemmDepth);
      gemm_load(tile(step, 1), b, n, k, first_column, static_cast<int64_t>(step) * kGemmDepth);
    }
    if (mistake != GemmMistake::NoCommit) copy_async_commit();
  };
  for (int step = 0; step < kGemmStages - 1; ++step) load(step);

  GemmSums sums;
  const uint32_t warp_row = warp_index() / 2 * 32, warp_column = warp_index() % 2 * 32;
  for (int step = 0; step < steps; ++step) {
    if (mistake == GemmMistake::LoadsTooEarly) load(step + kGemmStages - 1);
    if constexpr (mistake == GemmMistake::WaitsForTooFew) {
      copy_async_wait<kGemmStages - 1>();
    } else if constexpr (mistake != GemmMistake::NoCopyWait) {
      copy_async_wait<kGemmStages - 2>();
    }
    // The step's copies are there for all; all have read the step before, whose stage is next.
    if (mistake != GemmMistake::NoBarrier) block_sync();
    if (mistake != GemmMistake::LoadsTooEarly) load(step + kGemmStages - 1);
    sums.add(tile(step, 0), tile(step, 1), warp_row, warp_column);
  }
  PLINTH_UNROLL
  for (int i = 0; i < 2; ++i) {
    PLINTH_UNROLL
    for (int j = 0; j < 4; ++j) {
      PLINTH_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int64_t row = first_row + warp_row + 16 * i + lane_index() / 4 + e / 2 * 8;
        const int64_t column = first_column + warp_column + 8 * j + lane_index() % 4 * 2 + e % 2;
        if (row < m && column < n) c[row * n + column] = sums.values[i][j][e];
      }
    }
  }
}

}  // namespace plinth::device
