#pragma once

// Layer normalisation on the GPU: the contract of layer_norm.h, on device pointers and a stream.
//
// Trick: a row is read once, 16 bytes an access, and stays in the registers of the warp (or block)
// that owns it while its mean, its variance and its output are computed. The backward pass keeps,
// besides, each thread's columns of the weight's and bias's gradients in registers over all rows of
// its block; a second kernel adds the blocks' parts in order. The number of parts depends on the
// shape only. Bound: forward moves 2 rows cols sizeof(T) bytes, backward 3; about 8 and 14
// operations an element are far below what the memory allows.

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cuda {

// T: float, BFloat16, Float16. cols: up to 8192, a multiple of 16 / sizeof(T); pointers aligned to
// 16 bytes. See layer_norm_supported().
bool layer_norm_supported(int64_t cols, size_t element_size);

template <class T>
void layer_norm_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* weight,
                        const T* bias, float eps, T* y, float* mean, float* rstd);

template <class T>
void add_layer_norm_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* residual,
                            const T* weight, const T* bias, float eps, T* sum, T* y, float* mean,
                            float* rstd);

// Floats of workspace that the backward pass needs.
int64_t layer_norm_backward_workspace(int64_t rows, int64_t cols);

// dsum (may be null) is added to dx, as in add_layer_norm_backward of layer_norm.h.
template <class T>
void layer_norm_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* dsum,
                         const T* x, const T* weight, const float* mean, const float* rstd, T* dx,
                         T* dweight, T* dbias, float* workspace);

}  // namespace plinth::kernels::cuda
