#pragma once

// Root-mean-square normalisation (Zhang & Sennrich 2019, arXiv 1910.07467) over the last dimension.
//
//   rstd = 1 / sqrt(sum_j x_j^2 / cols + eps),   n_j = x_j rstd,   y_j = n_j weight_j
//
//   g_j  = dy_j weight_j
//   dx_j = rstd (g_j - n_j sum_k g_k n_k / cols),   dweight_j = sum_rows dy_j n_j
//
// Matrices are contiguous [rows, cols] of T; weight [cols] of T; rstd [rows] of compute_t<T>, in
// which everything is computed. T: double, float, BFloat16, Float16.
// Aliasing: y may be x, dx may be dy or x; other outputs overlap nothing.
// Bytes: forward reads and writes a matrix once; backward reads two and writes one. About 5
// operations an element forward, 10 backward.
// Determinism: as layer_norm.

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

// weight (ones) may be null, and so may rstd where no backward follows.
template <class T>
void rms_norm_forward(int64_t rows, int64_t cols, const T* x, const T* weight, compute_t<T> eps,
                      T* y, compute_t<T>* rstd);

// sum = x + residual (rounded to T), y = rms_norm(sum). sum may be x or residual.
template <class T>
void add_rms_norm_forward(int64_t rows, int64_t cols, const T* x, const T* residual,
                          const T* weight, compute_t<T> eps, T* sum, T* y, compute_t<T>* rstd);

// Each of dx and dweight may be null: it is then not computed.
template <class T>
void rms_norm_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* weight,
                       const compute_t<T>* rstd, T* dx, T* dweight);

// Backward of add_rms_norm_forward: dx, the gradient of both x and residual, also receives dsum,
// the gradient that reached `sum` by other ways (null: none). dx may be dsum.
template <class T>
void add_rms_norm_backward(int64_t rows, int64_t cols, const T* dy, const T* dsum, const T* sum,
                           const T* weight, const compute_t<T>* rstd, T* dx, T* dweight);

}  // namespace plinth::kernels::cpu
