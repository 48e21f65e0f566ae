#pragma once

// Reductions over a warp and a block, in a fixed order: the result depends on the values alone, and
// all threads get the same bits.

#include "kernels/device/math.h"

namespace plinth::device {

struct Sum {
  template <class T>
  PLINTH_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  PLINTH_DEVICE T operator()(T a, T b) const {
    return larger(a, b);
  }
};

// A butterfly: after five exchanges every lane holds the whole.
template <class Op, class T>
PLINTH_DEVICE T warp_reduce(T value, Op op = {}) {
  for (uint32_t distance = 16; distance > 0; distance /= 2)
    value = op(value, shuffle_xor(value, distance));
  return value;
}

// `scratch` holds 32 elements of shared memory; it may be used again after the caller's next
// block_sync(). The block has a multiple of 32 threads.
template <class Op, class T>
PLINTH_DEVICE T block_reduce(T value, T identity, Shared<T> scratch, Op op = {}) {
  value = warp_reduce<Op>(value, op);
  const uint32_t warps = block_threads() / 32;
  if (lane_index() == 0) scratch[warp_index()] = value;
  block_sync();
  T partial = identity;
  if (lane_index() < warps) partial = scratch[lane_index()];
  return warp_reduce<Op>(partial, op);
}

}  // namespace plinth::device
