#pragma once

// Positions of the k largest elements of each row of a contiguous [rows, cols] matrix of T.
//
//   out[r] = the first k of 0 ... cols - 1, sorted by x[r][.] downwards, equal elements by position
//
// T: double, float, BFloat16, Float16, int64_t, int32_t, uint8_t. NaN stands before every number,
// as in PyTorch. 0 <= k <= cols. out is [rows, k]. Aliasing: out shares nothing with x. Bytes:
// reads x once, writes out. Determinism: the result is one of the order alone.

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels {

// Whether element a, at position i, stands before element b, at position j.
template <class C>
PLINTH_HOST_DEVICE inline bool stands_before(C a, int64_t i, C b, int64_t j) {
  const bool a_is_nan = a != a, b_is_nan = b != b;
  if (a_is_nan != b_is_nan) return a_is_nan;
  if (a == b || a_is_nan) return i < j;
  return a > b;
}

namespace cpu {

template <class T>
void topk(int64_t rows, int64_t cols, int64_t k, const T* x, int64_t* out);

}  // namespace cpu
}  // namespace plinth::kernels
