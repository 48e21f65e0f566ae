#pragma once

// Vectors of elements that move in one access, 16 bytes at most.

#include "kernels/types.h"

namespace plinth::device {

template <class T, int n>
struct alignas(sizeof(T) * n) Vector {
  static_assert(sizeof(T) * n <= 16, "no access is wider than 16 bytes");
  static constexpr int kSize = n;
  T values[n];

  PLINTH_DEVICE T& operator[](int i) { return values[i]; }
  PLINTH_DEVICE const T& operator[](int i) const { return values[i]; }
};

// As many elements as one 16-byte access moves.
template <class T>
inline constexpr int kVectorWidth = 16 / static_cast<int>(sizeof(T));

}  // namespace plinth::device
