#pragma once

// Layer normalisation on the GPU: the contract of layer_norm.h, on device pointers and a stream.
//
// Trick: a row is read once, 16 bytes an access, and stays in the registers of the warp (or block)
// that owns it while its mean, its variance and its output are computed. The backward pass keeps,
// besides, each thread's columns of the weight's and bias's gradients in registers over all rows of
// its block; a second kernel adds the blocks' parts in order. The number of parts depends on the
// shape only. Bound: forward moves rows cols (sizeof(T) + sizeof(N)) bytes, backward sizeof(T)
// more; about 8 and 14 operations an element are far below what the memory allows.
//
// That holds for rows of whole 16-byte vectors, up to 16384 columns (backward 8192), of 16 or
// 32-bit floats, at aligned pointers (those to N at the boundaries of as many elements). Other rows
// are read three times forward, the second and third time from the caches; backward reads four
// matrices where it makes the gradients of weight or bias, else two.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/types.h"

namespace plinth::kernels::cuda {

template <class T, class N = T>
void layer_norm_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* weight,
                        const T* bias, compute_t<T> eps, N* y, compute_t<T>* mean,
                        compute_t<T>* rstd);

template <class T, class N = T>
void add_layer_norm_forward(void* stream, int64_t rows, int64_t cols, const N* x, const T* residual,
                            const T* weight, const T* bias, compute_t<T> eps, T* sum, N* y,
                            compute_t<T>* mean, compute_t<T>* rstd);

// Bytes of workspace, aligned to 16, that the backward pass needs where dweight or dbias is not
// null.
template <class T>
int64_t layer_norm_backward_workspace(int64_t rows, int64_t cols);

template <class T, class N = T>
void layer_norm_backward(void* stream, int64_t rows, int64_t cols, const N* dy, const T* x,
                         const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd, T* dx,
                         T* dweight, T* dbias, void* workspace);

template <class T, class N = T>
void add_layer_norm_backward(void* stream, int64_t rows, int64_t cols, const N* dy, const T* dsum,
                             const T* sum, const T* weight, const compute_t<T>* mean,
                             const compute_t<T>* rstd, T* dx, std::type_identity_t<N>* dbranch,
                             T* dweight, T* dbias, void* workspace);

}  // namespace plinth::kernels::cuda
