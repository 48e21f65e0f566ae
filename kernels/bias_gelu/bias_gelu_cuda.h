#pragma once

// y = gelu(x + bias) on the GPU: the contract of bias_gelu.h, on device pointers and a stream.
//
// Trick: backward gives a warp a strip of 32 vectors of columns and a part of the rows, so that
// each thread sums its columns of the bias's gradient in registers; a second kernel adds the parts
// in order. Two rows are in flight at once. Bound: forward moves 2 rows cols sizeof(T) bytes,
// backward 3; about 20 and 40 operations an element (the form with erf), which the memory hides but
// for 16-bit types. Rows that are not whole, aligned vectors go element by element.

#include <cstddef>
#include <cstdint>

namespace plinth::kernels::cuda {

template <class T>
void bias_gelu_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* bias, T* y);
template <class T>
void bias_gelu_tanh_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* bias,
                            T* y);
template <class T>
void bias_gelu_quick_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* bias,
                             T* y);

// Bytes of workspace that each backward pass needs where dbias is not null.
template <class T>
size_t bias_gelu_backward_workspace(int64_t rows, int64_t cols);

template <class T>
void bias_gelu_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* x,
                        const T* bias, T* dx, T* dbias, void* workspace);
template <class T>
void bias_gelu_tanh_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* x,
                             const T* bias, T* dx, T* dbias, void* workspace);
template <class T>
void bias_gelu_quick_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* x,
                              const T* bias, T* dx, T* dbias, void* workspace);

}  // namespace plinth::kernels::cuda
