#pragma once

// Operations of a warp.

#include <cuda_runtime.h>

#include <cstdint>

namespace plinth::device {

inline constexpr uint32_t kFullMask = 0xffffffffu;

PLINTH_DEVICE uint32_t lane_index() {
  return threadIdx.x % 32;
}
PLINTH_DEVICE uint32_t warp_index() {
  return threadIdx.x / 32;
}

PLINTH_DEVICE void warp_sync(uint32_t mask = kFullMask) {
  __syncwarp(mask);
}

template <class T>
PLINTH_DEVICE T shuffle(T value, uint32_t lane, uint32_t mask = kFullMask) {
  return __shfl_sync(mask, value, static_cast<int>(lane));
}
template <class T>
PLINTH_DEVICE T shuffle_xor(T value, uint32_t distance, uint32_t mask = kFullMask) {
  return __shfl_xor_sync(mask, value, static_cast<int>(distance));
}
template <class T>
PLINTH_DEVICE T shuffle_down(T value, uint32_t distance, uint32_t mask = kFullMask) {
  return __shfl_down_sync(mask, value, distance);
}
template <class T>
PLINTH_DEVICE T shuffle_up(T value, uint32_t distance, uint32_t mask = kFullMask) {
  return __shfl_up_sync(mask, value, distance);
}

PLINTH_DEVICE uint32_t ballot(bool predicate, uint32_t mask = kFullMask) {
  return __ballot_sync(mask, predicate);
}
PLINTH_DEVICE bool any(bool predicate, uint32_t mask = kFullMask) {
  return __any_sync(mask, predicate) != 0;
}
PLINTH_DEVICE bool all(bool predicate, uint32_t mask = kFullMask) {
  return __all_sync(mask, predicate) != 0;
}
template <class T>
PLINTH_DEVICE uint32_t match_any(T value, uint32_t mask = kFullMask) {
  return __match_any_sync(mask, value);
}

// elect.sync (sm_90)
PLINTH_DEVICE bool elect_one() {
  uint32_t elected;
  asm volatile(
      "{\n\t.reg .pred p;\n\t"
      "elect.sync _|p, 0xffffffff;\n\t"
      "selp.u32 %0, 1, 0, p;\n\t}"
      : "=r"(elected));
  return elected != 0;
}

}  // namespace plinth::device
