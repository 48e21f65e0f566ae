#pragma once

// A plain matrix product on the GPU: the contract of matmul.h, on device pointers and a stream,
// with any strides at all. It serves what cuBLASLt does not take (float64 in odd layouts, strides
// without a 1, an unaligned operand), and is no match for it on what it does take: it uses no
// tensor cores.
//
// Trick: a block has a tile of 64 x 64, a thread 4 x 4 of it in registers; slices of 16 along k are
// read from memory along whichever dimension is contiguous, one slice ahead, into two buffers of
// shared memory in turn, so that one barrier a slice is enough.
//
// Bound: operations, 2 m n k a batch, and about as much shared memory, of which a thread reads 8
// elements for 16 multiply-adds.
//
// Determinism: one chain of multiply-adds along k for each element; no split of k, so that few
// elements with a long k leave most of the GPU idle.

#include "kernels/matmul/matmul.h"

namespace plinth::kernels::cuda {

using cpu::MatmulDesc;

template <class T>
void matmul(void* stream, const MatmulDesc& desc, const T* a, const T* b, T* c,
            const T* bias = nullptr);

}  // namespace plinth::kernels::cuda
