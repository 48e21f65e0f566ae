#pragma once

// Softmax and log-softmax on the GPU: the contract of softmax.h, on device pointers and a stream.
//
// Trick: a row is read once, 16 bytes an access, and stays in the registers of the warp (or block)
// that owns it. Bound: forward moves 2 rows cols sizeof(T) bytes, backward 3; about 10 operations
// and one exponential an element, which take as long as the memory only for 16-bit types on a GPU
// whose arithmetic is slow for its memory.
//
// That holds for rows of whole 16-byte vectors, up to 16384 columns, of 16 or 32-bit floats, at
// aligned pointers. Other rows are read twice, the second time from the caches: the first pass of
// forward finds maximum and sum together (online_softmax.cuh).

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cuda {

template <class T>
void softmax_forward(void* stream, int64_t rows, int64_t cols, const T* x, T* y);
template <class T>
void softmax_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* y, T* dx);

template <class T>
void log_softmax_forward(void* stream, int64_t rows, int64_t cols, const T* x, T* y);
template <class T>
void log_softmax_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* y, T* dx);

}  // namespace plinth::kernels::cuda
