#pragma once

// Layer normalisation (Ba, Kiros & Hinton 2016, arXiv 1607.06450) over the last dimension.
//
//   mean = sum_j x_j / cols,   rstd = 1 / sqrt(sum_j (x_j - mean)^2 / cols + eps)
//   n_j  = (x_j - mean) rstd,  y_j  = n_j weight_j + bias_j
//
//   g_j  = dy_j weight_j
//   dx_j = rstd (g_j - sum_k g_k / cols - n_j sum_k g_k n_k / cols)
//   dweight_j = sum_rows dy_j n_j,   dbias_j = sum_rows dy_j
//
// Matrices are contiguous [rows, cols] of T; weight and bias [cols] of T; mean and rstd [rows] of
// compute_t<T>, in which everything is computed. T: double, float, BFloat16, Float16.
// Aliasing: y may be x, dx may be dy or x; other outputs overlap nothing.
// Bytes: forward reads and writes a matrix once; backward reads two and writes one (rows stay in
// the first cache between a row's two passes). About 8 operations an element forward, 14 backward.
// Determinism: a row's sums have one fixed order; the gradients of weight and bias are summed over
// fixed blocks of rows, then over blocks, whatever the number of threads.

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

// weight (ones) and bias (zeros) may be null, and so may mean and rstd where no backward follows.
template <class T>
void layer_norm_forward(int64_t rows, int64_t cols, const T* x, const T* weight, const T* bias,
                        compute_t<T> eps, T* y, compute_t<T>* mean, compute_t<T>* rstd);

// sum = x + residual (rounded to T), y = layer_norm(sum). sum may be x or residual.
template <class T>
void add_layer_norm_forward(int64_t rows, int64_t cols, const T* x, const T* residual,
                            const T* weight, const T* bias, compute_t<T> eps, T* sum, T* y,
                            compute_t<T>* mean, compute_t<T>* rstd);

// Each of dx, dweight, dbias may be null: it is then not computed.
template <class T>
void layer_norm_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* weight,
                         const compute_t<T>* mean, const compute_t<T>* rstd, T* dx, T* dweight,
                         T* dbias);

// Backward of add_layer_norm_forward: dx, the gradient of both x and residual, also receives dsum,
// the gradient that reached `sum` by other ways (null: none). dx may be dsum.
template <class T>
void add_layer_norm_backward(int64_t rows, int64_t cols, const T* dy, const T* dsum, const T* sum,
                             const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                             T* dx, T* dweight, T* dbias);

}  // namespace plinth::kernels::cpu
