#pragma once

// out_j = sum_i x_ij: the gradient of a bias.
//
// x is contiguous [rows, cols] of T, out [cols] of T (overwritten; zeros where rows is 0). T:
// double, float, BFloat16, Float16; summed in compute_t<T>. Bytes: reads the matrix once.
// Determinism: summed over fixed blocks of rows, then over blocks, whatever the number of threads.

#include <cstdint>

namespace plinth::kernels::cpu {

template <class T>
void column_sum(int64_t rows, int64_t cols, const T* x, T* out);

}  // namespace plinth::kernels::cpu
