#pragma once

// y = gelu(x + bias) in one pass, in all forms of GELU (kernels/activation/activation.h).
//
//   dx = dy gelu'(x + bias),   dbias_j = sum_rows dx_j
//
// x, y, dy, dx are contiguous [rows, cols] of T, bias and dbias [cols]. T: double, float, BFloat16,
// Float16; computed in compute_t<T>; dbias sums dx before it is rounded to T.
// Aliasing: y may be x; dx may be dy or x.
// Bytes: forward reads and writes a matrix once; backward reads two and writes one.
// Determinism: dbias is summed over fixed blocks of rows, then over blocks.

#include <cstdint>

namespace plinth::kernels::cpu {

template <class T>
void bias_gelu_forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y);
template <class T>
void bias_gelu_tanh_forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y);
template <class T>
void bias_gelu_quick_forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y);

// dbias may be null: it is then not computed.
template <class T>
void bias_gelu_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias, T* dx,
                        T* dbias);
template <class T>
void bias_gelu_tanh_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias,
                             T* dx, T* dbias);
template <class T>
void bias_gelu_quick_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias,
                              T* dx, T* dbias);

}  // namespace plinth::kernels::cpu
