#pragma once

#include "kernels/device/device.h"

namespace plinth::device {

enum class MatrixMistake { None, NoBarrier, Misaligned, MissingLanes };

// 32 rows of 8 elements go through ldmatrix; out[n * lane + m] is register m of a lane.
template <int n, bool transposed, MatrixMistake mistake = MatrixMistake::None>
PLINTH_KERNEL void load_matrices(Global<const uint16_t> x, Global<uint32_t> out) {
  const Shared<uint16_t> tile = shared_array<uint16_t>(0, 32 * 8 + 8);
  const uint32_t lane = thread_index();
  for (uint32_t i = lane; i < 256 + 8; i += 32) {
    const uint16_t value = x[i % 256];
    tile[i] = value;
  }
  if (mistake != MatrixMistake::NoBarrier) block_sync();
  if (mistake == MatrixMistake::MissingLanes && lane >= 16) return;
  const Shared<uint16_t> row = tile + lane * 8 + (mistake == MatrixMistake::Misaligned ? 4 : 0);
  uint32_t registers[n];
  if constexpr (transposed) {
    load_matrix_transposed(registers, row);
  } else {
    load_matrix(registers, row);
  }
  PLINTH_UNROLL
  for (int m = 0; m < n; ++m) out[lane * n + m] = registers[m];
}

// The opposite: registers lane * n + m to n matrices of 8 rows.
template <int n, bool transposed>
PLINTH_KERNEL void store_matrices(Global<uint16_t> out) {
  if constexpr (kHopper) {
    const Shared<uint16_t> tile = shared_array<uint16_t>(0, n * 64);
    const uint32_t lane = thread_index();
    uint32_t registers[n];
    PLINTH_UNROLL
    for (int m = 0; m < n; ++m) {
      const uint32_t first = 64 * m + 2 * lane;
      registers[m] = first | (first + 1) << 16;
    }
    const Shared<uint16_t> row = tile + lane % (8 * n) * 8;
    if constexpr (transposed) {
      store_matrix_transposed(row, registers);
    } else {
      store_matrix(row, registers);
    }
    block_sync();
    for (uint32_t i = lane; i < n * 64; i += 32) {
      const uint16_t value = tile[i];
      out[i] = value;
    }
  }
}

// c of 16 x 8 = a of 16 x 16 times b, which is stored by columns, or by rows and transposed as it
// is loaded.
template <class T, bool b_by_rows>
PLINTH_KERNEL void multiply_tile(Global<const T> a, Global<const T> b, Global<float> c) {
  const Shared<T> a_tile = shared_array<T>(0, 256);
  const Shared<T> b_tile = shared_array<T>(512, 128);
  const uint32_t lane = thread_index();
  copy_async<16>(a_tile + lane * 8, a + lane * 8);
  if (lane < 16) copy_async<16>(b_tile + lane * 8, b + lane * 8);
  copy_async_commit();
  copy_async_wait<0>();
  block_sync();
  uint32_t x[4], y[2];
  float sum[4] = {};
  load_matrix(x, a_tile + (lane % 16 * 16 + lane / 16 * 8));
  if constexpr (b_by_rows) {
    load_matrix_transposed(y, b_tile + lane % 16 * 8);
  } else {
    load_matrix(y, b_tile + (lane % 8 * 16 + lane / 8 % 2 * 8));
  }
  mma<T>(sum, x, y);
  const uint32_t at = lane / 4 * 8 + lane % 4 * 2;
  c[at] = sum[0];
  c[at + 1] = sum[1];
  c[at + 64] = sum[2];
  c[at + 65] = sum[3];
}

// TF32: a of 16 x 8, b of 8 x 8 by rows.
PLINTH_KERNEL void multiply_tile_tf32(Global<const uint32_t> a, Global<const uint32_t> b,
                                      Global<float> c) {
  const uint32_t lane = thread_index(), g = lane / 4, t = lane % 4;
  const uint32_t x[4] = {a[g * 8 + t], a[g * 8 + 64 + t], a[g * 8 + t + 4], a[g * 8 + 64 + t + 4]};
  const uint32_t y[2] = {b[t * 8 + g], b[(t + 4) * 8 + g]};
  float sum[4] = {};
  mma<float>(sum, x, y);
  const uint32_t at = g * 8 + t * 2;
  c[at] = sum[0];
  c[at + 1] = sum[1];
  c[at + 64] = sum[2];
  c[at + 65] = sum[3];
}

template <class T>
PLINTH_KERNEL void pack_pairs(Global<const float> x, Global<uint32_t> out) {
  const uint32_t i = thread_index();
  const float low = x[2 * i], high = x[2 * i + 1];
  out[i] = pack<T>(low, high);
}

}  // namespace plinth::device
