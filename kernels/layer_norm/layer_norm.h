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
// Matrices are contiguous [rows, cols] of T, but y, its gradient dy, and the branch that is added
// to a stream are of N, as are the products that make and take them; weight and bias [cols] of T;
// mean and rstd [rows] of compute_t<T>, in which everything is computed and then rounded once.
// T: double, float, BFloat16, Float16; N: T or, where T is float, BFloat16 or Float16.
// Aliasing: y may be x, and dx dy, where N is T; dx may be x; other outputs overlap nothing.
// Bytes: forward reads and writes a matrix once; backward reads two and writes one (rows stay in
// the first cache between a row's two passes). About 8 operations an element forward, 14 backward.
// Determinism: a row's sums have one fixed order; the gradients of weight and bias are summed over
// fixed blocks of rows, then over blocks, whatever the number of threads.

#include <cstdint>
#include <type_traits>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

// weight (ones) and bias (zeros) may be null, and so may mean and rstd where no backward follows.
template <class T, class N = T>
void layer_norm_forward(int64_t rows, int64_t cols, const T* x, const T* weight, const T* bias,
                        compute_t<T> eps, N* y, compute_t<T>* mean, compute_t<T>* rstd);

// sum = x + residual (rounded to T), y = layer_norm(sum), for a branch x and a stream `residual`.
// sum may be residual and, where N is T, x.
template <class T, class N = T>
void add_layer_norm_forward(int64_t rows, int64_t cols, const N* x, const T* residual,
                            const T* weight, const T* bias, compute_t<T> eps, T* sum, N* y,
                            compute_t<T>* mean, compute_t<T>* rstd);

// Each of dx, dweight, dbias may be null: it is then not computed.
template <class T, class N = T>
void layer_norm_backward(int64_t rows, int64_t cols, const N* dy, const T* x, const T* weight,
                         const compute_t<T>* mean, const compute_t<T>* rstd, T* dx, T* dweight,
                         T* dbias);

// Backward of add_layer_norm_forward: dx, the gradient of both x and residual, also receives dsum,
// the gradient that reached `sum` by other ways (null: none). dx may be dsum. dbranch (null: not
// wanted) receives dx rounded to N, for a branch that is narrower than its stream; it may be dy.
template <class T, class N = T>
void add_layer_norm_backward(int64_t rows, int64_t cols, const N* dy, const T* dsum, const T* sum,
                             const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                             T* dx, std::type_identity_t<N>* dbranch, T* dweight, T* dbias);

}  // namespace plinth::kernels::cpu
