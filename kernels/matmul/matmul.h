#pragma once

// Matrix product: c[i, j] = sum_p a[i, p] b[p, j] (+ bias[j]) (+ c[i, j] before), batched.
//
// Shapes       a [batch, m, k], b [batch, k, n], c [batch, m, n], bias [n], any of them empty;
//              k = 0 gives zeros, the bias, or c itself.
// Dtypes       float64, float32, bfloat16, float16; the last two accumulate in float32 and round
//              once.
// Layout       of each matrix the row or the column stride is 1 (or that dimension is 1), so a
//              transposed operand is a swap of strides. A batch stride of 0 shares a or b.
// Aliasing     c overlaps none of a, b, bias; its elements are distinct.
// Determinism  the order of every sum depends on the shape only, never on the threads; with at most
//              four rows, on which of b's strides is 1 too.
// Cost         2 batch m n k operations; (m k + k n + m n) elements per batch.

#include <array>
#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

struct MatmulDesc {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  std::array<int64_t, 3> a{}, b{}, c{};  // strides, in elements, of (batch, row, column)
  bool accumulate = false;               // c += a b instead of c = a b
};

template <class T>
void matmul(const MatmulDesc& desc, const T* a, const T* b, T* c, const T* bias = nullptr);

}  // namespace plinth::kernels::cpu
