#pragma once

// A plain matrix product on the GPU: the contract of matmul.h, on device pointers and a stream,
// with any strides at all, and with operands and a result that may differ in dtype. It serves what
// cuBLASLt does not take (strides without a 1, an unaligned operand of float8), and is no match for
// it on what it does take: it uses no tensor cores. product_cuda.h chooses between the two.
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

// The product is multiplied with *a_scale and *b_scale, in device memory, where they are not null.
// A, B, R: one of double, float, BFloat16, Float16; or BFloat16 or Float16 with R float; or float8
// operands, not both e5m2, with R BFloat16, Float16 or float.
template <class A, class B, class R>
void matmul(void* stream, const MatmulDesc& desc, const A* a, const B* b, R* c,
            const R* bias = nullptr, const float* a_scale = nullptr,
            const float* b_scale = nullptr);

}  // namespace plinth::kernels::cuda
