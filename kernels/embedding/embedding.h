#pragma once

// Embedding: y_i = w[ids_i], and the gradient dw[v] += sum of dy_i over i with ids_i = v.
//
// ids [n], w and dw [vocab, dim], y and dy [n, dim], contiguous; y and dy of T (double, float,
// BFloat16, Float16), dw of compute_t<T>. Every id must be a row of w (first_bad_index of index.h
// finds one that is not). Bytes: forward moves n dim elements in and out; backward reads dy once,
// and reads and writes only those rows of dw that occur. Determinism: backward sorts tokens by id
// (a stable counting sort) and adds each row's tokens in their order; long runs of one id are cut
// at fixed places and their parts added in order.

#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

template <class T>
void embedding_forward(int64_t n, int64_t vocab, int64_t dim, const int64_t* ids, const T* w, T* y);

// Adds to dw.
template <class T>
void embedding_backward(int64_t n, int64_t vocab, int64_t dim, const int64_t* ids, const T* dy,
                        compute_t<T>* dw);

}  // namespace plinth::kernels::cpu
