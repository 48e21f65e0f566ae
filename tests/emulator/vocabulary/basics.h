#pragma once

#include "kernels/device/device.h"

namespace plinth::device {

// The first warp hands a value to the second through a named barrier.
template <bool arrives>
PLINTH_KERNEL void hand_over(Global<float> x) {
  const Shared<float> cell = shared_array<float>(0, 1);
  if (warp_index() == 0) {
    if (lane_index() == 0) cell[0] = 7.0f;
    if constexpr (arrives) named_arrive(1, 64);
  } else {
    if constexpr (arrives) named_sync(1, 64);
    const float got = cell[0];
    x[lane_index()] = got;
  }
}

// 64 floats through shared memory, kBytes at a time.
template <int kBytes>
PLINTH_KERNEL void copy_array(Global<const float> x, Global<float> y) {
  constexpr uint32_t kElements = kBytes / 4;
  const Shared<float> tile = shared_array<float>(0, 64);
  for (uint32_t i = thread_index() * kElements; i < 64; i += 32 * kElements)
    copy_async<kBytes>(tile + i, x + i);
  copy_async_commit();
  copy_async_wait<0>();
  block_sync();
  for (uint32_t i = thread_index(); i < 64; i += 32) {
    const float value = tile[i];
    y[i] = value;
  }
}

}  // namespace plinth::device
