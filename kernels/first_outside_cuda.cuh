#pragma once

// Looks for an index that is out of range: for the checks of indices, targets and positions.

#include "kernels/device/device.h"
#include "kernels/index/index_fault.h"

namespace plinth::kernels::cuda {

using namespace plinth::device;

struct Min {
  template <class T>
  PLINTH_DEVICE T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

inline constexpr uint32_t kFirstOutsideThreads = 1024;

// Indices lie in [0, limit), or are `exempt` where that counts.
struct IndexBounds {
  int64_t limit;
  bool has_exempt = false;
  int64_t exempt = 0;
};

// The number of the first of n indices that is out of bounds, or n. One block's work.
template <bool kExempt>
PLINTH_DEVICE int64_t find_outside(int64_t n, const IndexBounds& bounds,
                                   Global<const int64_t> indices) {
  int64_t found = n;
  for (int64_t i = thread_index(); i < n && found == n; i += block_threads()) {
    const int64_t index = indices[i];
    const bool inside = (index >= 0 && index < bounds.limit) || (kExempt && index == bounds.exempt);
    if (!inside) found = i;
  }
  return block_reduce<Min>(found, n, shared_array<int64_t>(0, 32));
}

template <bool kExempt>
PLINTH_KERNEL void first_outside_kernel(int64_t n, IndexBounds bounds,
                                        Global<const int64_t> indices, Global<int64_t> first) {
  const int64_t found = find_outside<kExempt>(n, bounds, indices);
  if (thread_index() == 0) first[0] = found == n ? int64_t{-1} : found;
}

// Written field by field: the fault is no single access.
template <bool kExempt>
PLINTH_KERNEL void report_outside_kernel(int64_t n, IndexBounds bounds,
                                         Global<const int64_t> indices, uint32_t check,
                                         Global<uint32_t> fault_check,
                                         Global<int64_t> fault_element,
                                         Global<int64_t> fault_value) {
  const int64_t found = find_outside<kExempt>(n, bounds, indices);
  if (thread_index() != 0 || found == n) return;
  if (atomic_compare_exchange(fault_check, 0u, check) != 0) return;  // an earlier one counts
  const int64_t index = indices[found];
  fault_element[0] = found;
  fault_value[0] = index;
}

// Writes to *first, on the device, the number of the first of n indices that is out of bounds, or
// -1.
inline void first_outside(void* stream, int64_t n, const IndexBounds& bounds,
                          const int64_t* indices, int64_t* first) {
  launch("first_outside",
         bounds.has_exempt ? first_outside_kernel<true> : first_outside_kernel<false>,
         {{1}, {kFirstOutsideThreads}, 32 * sizeof(int64_t)}, static_cast<Stream>(stream), n,
         bounds, indices, first);
}

// If an index is out of bounds and *fault is free, writes `check` and the first such index there.
inline void report_outside(void* stream, int64_t n, const IndexBounds& bounds,
                           const int64_t* indices, uint32_t check, IndexFault* fault) {
  launch("report_outside",
         bounds.has_exempt ? report_outside_kernel<true> : report_outside_kernel<false>,
         {{1}, {kFirstOutsideThreads}, 32 * sizeof(int64_t)}, static_cast<Stream>(stream), n,
         bounds, indices, check, &fault->check, &fault->element, &fault->value);
}

}  // namespace plinth::kernels::cuda
