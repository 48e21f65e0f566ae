#pragma once

// Softmax and log-softmax over the last dimension of a contiguous [rows, cols] matrix of T.
//
//   softmax:      y_j = exp(x_j - m) / s,        m = max_k x_k,   s = sum_k exp(x_k - m)
//                 dx_j = y_j (dy_j - sum_k dy_k y_k)
//   log-softmax:  y_j = x_j - m - log s
//                 dx_j = dy_j - exp(y_j) sum_k dy_k
//
// T: double, float, BFloat16, Float16; computed in compute_t<T>. A row that is -inf throughout, or
// holds +inf or NaN, gives NaN, as the formula does; a -inf beside finite values gives 0 (softmax)
// or -inf (log-softmax).
// Aliasing: y may be x; dx may be dy or y.
// Bytes: forward reads and writes a matrix once; backward reads two and writes one.
// Determinism: a row's maximum and sum have one fixed order.

#include <cstdint>

namespace plinth::kernels::cpu {

template <class T>
void softmax_forward(int64_t rows, int64_t cols, const T* x, T* y);
template <class T>
void softmax_backward(int64_t rows, int64_t cols, const T* dy, const T* y, T* dx);

template <class T>
void log_softmax_forward(int64_t rows, int64_t cols, const T* x, T* y);
template <class T>
void log_softmax_backward(int64_t rows, int64_t cols, const T* dy, const T* y, T* dx);

}  // namespace plinth::kernels::cpu
