#pragma once

// RMS normalisation on the GPU: the contract of rms_norm.h, on device pointers and a stream.
//
// Trick: as layer_norm_cuda.h: a row is read once and stays in registers, and so do a thread's
// columns of the weight's gradient, over all rows of its part; the parts are added in order. Bound:
// forward moves rows cols (sizeof(T) + sizeof(N)) bytes, backward sizeof(T) more, with the residual
// one and two matrices more; about 5 and 10 operations an element are far below what the memory
// allows.
//
// That holds for rows of whole 16-byte vectors, up to 16384 columns (backward 8192), of 16 or
// 32-bit floats, at aligned pointers (those to N at the boundaries of as many elements). Other rows
// are read twice forward, the second time from the caches; backward reads four matrices where it
// makes the weight's gradient, else two.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/types.h"

namespace plinth::kernels::cuda {

template <class T, class N = T>
void rms_norm_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* weight,
                      compute_t<T> eps, N* y, compute_t<T>* rstd);

template <class T, class N = T>
void add_rms_norm_forward(void* stream, int64_t rows, int64_t cols, const N* x, const T* residual,
                          const T* weight, compute_t<T> eps, T* sum, N* y, compute_t<T>* rstd);

// Bytes of workspace, aligned to 16, that the backward pass needs where dweight is not null.
template <class T>
int64_t rms_norm_backward_workspace(int64_t rows, int64_t cols);

template <class T, class N = T>
void rms_norm_backward(void* stream, int64_t rows, int64_t cols, const N* dy, const T* x,
                       const T* weight, const compute_t<T>* rstd, T* dx, T* dweight,
                       void* workspace);

template <class T, class N = T>
void add_rms_norm_backward(void* stream, int64_t rows, int64_t cols, const N* dy, const T* dsum,
                           const T* sum, const T* weight, const compute_t<T>* rstd, T* dx,
                           std::type_identity_t<N>* dbranch, T* dweight, void* workspace);

}  // namespace plinth::kernels::cuda
