#pragma once

// Embedding on the GPU: the contract of embedding.h, on device pointers and a stream.
//
// The forward pass is index_select() and the backward pass the sort and segmented sum of
// index_add() (index_cuda.h), whose tricks, bounds and determinism they have; an id outside the
// vocabulary reads zeros and adds nothing, and report_bad_index() finds it. Bytes: forward moves n
// dim elements in and out; backward reads dy once, reads and writes the rows of dw that occur, and
// sorts 8 bytes an id in a pass for every 4 bits of vocab.

#include <cstddef>
#include <cstdint>

#include "kernels/embedding/embedding.h"

namespace plinth::kernels::cuda {

template <class T>
void embedding_forward(void* stream, int64_t n, int64_t vocab, int64_t dim, const int64_t* ids,
                       const T* w, T* y);

// Bytes of workspace of embedding_backward(); n < 2^31.
template <class T>
size_t embedding_backward_workspace(int64_t n, int64_t vocab, int64_t dim);

template <class T>
void embedding_backward(void* stream, int64_t n, int64_t vocab, int64_t dim, const int64_t* ids,
                        const T* dy, compute_t<T>* dw, void* workspace);

}  // namespace plinth::kernels::cuda
