#pragma once

// Vectors of compute_t<T> to and from vectors of T.

#include <bit>

#include "kernels/device/vector.h"
#include "kernels/types.h"

namespace plinth::device {

// The values rounded to T; on the GPU two of 16 bits at a time.
template <class T, int n>
PLINTH_DEVICE Vector<T, n> rounded(const compute_t<T> (&values)[n]) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 2 && n % 2 == 0) {
    Vector<uint32_t, n / 2> pairs;
    PLINTH_UNROLL
    for (int i = 0; i < n / 2; ++i) {
      if constexpr (std::is_same_v<T, BFloat16>) {
        pairs[i] = bfloat16_pair(values[2 * i], values[2 * i + 1]);
      } else {
        pairs[i] = float16_pair(values[2 * i], values[2 * i + 1]);
      }
    }
    return std::bit_cast<Vector<T, n>>(pairs);
  }
#endif
  Vector<T, n> vector;
  PLINTH_UNROLL
  for (int i = 0; i < n; ++i) vector[i] = T(values[i]);
  return vector;
}

template <class T, int n>
PLINTH_DEVICE void widened(const Vector<T, n>& vector, compute_t<T> (&values)[n]) {
  PLINTH_UNROLL
  for (int i = 0; i < n; ++i) values[i] = vector[i];
}

}  // namespace plinth::device
