#pragma once

// SwiGLU on the GPU: the contract of swiglu.h, on device pointers and a stream.
//
// A thread takes one 16-byte vector of a row. Bound: forward moves 3 rows cols sizeof(T) bytes,
// backward 5; about 15 operations and one exponential an element. Rows that are not whole vectors,
// or strides or pointers that are not, go element by element.

#include <cstdint>

namespace plinth::kernels::cuda {

template <class T>
void swiglu_forward(void* stream, int64_t rows, int64_t cols, const T* gate, int64_t gate_stride,
                    const T* up, int64_t up_stride, T* y);

template <class T>
void swiglu_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* gate,
                     int64_t gate_stride, const T* up, int64_t up_stride, T* dgate,
                     int64_t dgate_stride, T* dup, int64_t dup_stride);

}  // namespace plinth::kernels::cuda
