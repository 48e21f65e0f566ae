#pragma once

// Looks for an index that is out of range: for the checks of targets and positions.

#include "kernels/device/device.h"

namespace plinth::kernels::cuda {

using namespace plinth::device;

struct Min {
  template <class T>
  PLINTH_DEVICE T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

inline constexpr uint32_t kFirstOutsideThreads = 1024;

template <bool kExempt>
PLINTH_KERNEL void first_outside_kernel(int64_t n, int64_t limit, int64_t exempt,
                                        Global<const int64_t> indices, Global<int64_t> first) {
  const Shared<int64_t> scratch = shared_array<int64_t>(0, 32);
  int64_t found = n;
  for (int64_t i = thread_index(); i < n && found == n; i += block_threads()) {
    const int64_t index = indices[i];
    const bool inside = (index >= 0 && index < limit) || (kExempt && index == exempt);
    if (!inside) found = i;
  }
  found = block_reduce<Min>(found, n, scratch);
  if (thread_index() == 0) first[0] = found == n ? int64_t{-1} : found;
}

// Writes to *first, on the device, the number of the first of n indices that is not in [0, limit)
// (nor is `exempt`, where that counts), or -1.
inline void first_outside(void* stream, int64_t n, int64_t limit, bool has_exempt, int64_t exempt,
                          const int64_t* indices, int64_t* first) {
  launch("first_outside", has_exempt ? first_outside_kernel<true> : first_outside_kernel<false>,
         {{1}, {kFirstOutsideThreads}, 32 * sizeof(int64_t)}, static_cast<Stream>(stream), n, limit,
         exempt, indices, first);
}

}  // namespace plinth::kernels::cuda
