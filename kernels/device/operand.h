#pragma once

#include "kernels/device/tile.h"

namespace plinth::device {

// Where the i-th accumulator of wgmma, Registers<float, N / 2>, lies in the 64 x N sums.
PLINTH_DEVICE uint32_t accumulator_row(int i) {
  return warp_index() % 4 * 16 + lane_index() / 4 + static_cast<uint32_t>(i) % 4 / 2 * 8;
}
PLINTH_DEVICE uint32_t accumulator_column(int i) {
  return static_cast<uint32_t>(i) / 4 * 8 + lane_index() % 4 * 2 + static_cast<uint32_t>(i) % 2;
}

// Sums rounded to T as the A of another product, or of a store_matrix(): its 16 columns `step`.
template <class T, int half>
PLINTH_DEVICE void sums_to_fragment(Registers<float, half>& sums, int step,
                                    Registers<uint32_t, 4>& fragment) {
  PLINTH_UNROLL
  for (int i = 0; i < 4; ++i)
    fragment[i] = pack<T>(sums[8 * step + 2 * i], sums[8 * step + 2 * i + 1]);
}

// A matrix in shared memory as TMA brings it for wgmma: boxes of `rows` rows, each as long as the
// swizzle's span (16 bytes without a swizzle), one box after another. Rows are of M or N for
// Major::K, of K for Major::MN; boxes follow each other along the other index.
template <Major major, Swizzle swizzle, uint32_t rows>
struct Operand {
  static_assert(rows % 8 == 0);
  static constexpr uint32_t kRowBytes = swizzle == Swizzle::None ? 16 : swizzle_span(swizzle);
  static constexpr uint32_t kRowElements = kRowBytes / 2;
  static constexpr uint32_t kBoxBytes = rows * kRowBytes;

  // The first 16 of K.
  template <class T>
  PLINTH_DEVICE static MatrixDescriptor first(Shared<T> start) {
    constexpr uint32_t kGroup = 8 * kRowBytes;  // 8 rows
    constexpr bool kSwap = major == Major::MN && swizzle == Swizzle::None;
    return matrix_descriptor(start, kSwap ? kGroup : kBoxBytes, kSwap ? kBoxBytes : kGroup,
                             swizzle);
  }
  // Bytes from there to the 16 of K after `step` others.
  PLINTH_DEVICE static constexpr uint32_t offset(uint32_t step) {
    if (major == Major::MN) return step * 16 * kRowBytes;
    return step * 32 / kRowBytes * kBoxBytes + step * 32 % kRowBytes;
  }
};

}  // namespace plinth::device
