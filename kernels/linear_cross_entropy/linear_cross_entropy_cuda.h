#pragma once

// The rows of the LM-head-fused cross-entropy (linear_cross_entropy.h) on the GPU: what a chunk of
// logits needs between the products that make it and use it up. The caller goes over chunks of
// rows,
//
//   z = x w^T                                       a matrix product
//   linear_cross_entropy_rows(z -> loss, dz)        this
//   dx = dz w,   dw += dz^T x                       two more
//
// so that the logits are never whole in memory.
//
//   lse  = log sum_j exp(z[j])
//   loss = lse - (1 - e) z[target] - e / vocab sum_j z[j] + z_loss lse^2        e = label_smoothing
//   dz   = row_scale ((1 + 2 z_loss lse) softmax(z) - (1 - e) onehot(target) - e / vocab)
//
// Shapes       z, dz [rows, vocab], rows `stride` elements apart (at least vocab: products like
//              rows that begin at 16-byte boundaries; what lies between is left alone); target,
//              loss [rows], in desc.rows the chunk's.
// Dtypes       z of float64, float32, bfloat16, float16, computed and loss written in compute_t<Z>;
//              dz of the same, or of bfloat16 or float16 for logits of float32, which are then
//              never rounded before the loss.
// Targets      as cross_entropy_cuda.h: ignore_index gives 0, an invalid one a loss of NaN.
// Aliasing     dz may be z where they have one type.
// Bytes        reads z once for the loss, and uses it once more to write dz. The rows at work, two
//              a multiprocessor, are short enough to wait in the second cache (32768 logits of
//              float32 are 34 MB on 132 multiprocessors). Longer ones of float32, if they are whole
//              vectors, wait in shared memory, one a multiprocessor (up to 58k logits in 227 KB),
//              and the next row is fetched while dz is written.
//              About 20 operations and two exponentials an element with dz.
// Determinism  one block a row at a time, fixed orders.
// Trick        maximum and sum are found in one pass (online_softmax.cuh).

#include <cstdint>

#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/types.h"

namespace plinth::kernels::cuda {

using cpu::LinearCrossEntropyDesc;

// dz may be null: only the losses are then computed. row_scale is in device memory; null stands for
// 1. (Z, D): (T, T) of each float T, and (float, BFloat16), (float, Float16).
template <class Z, class D>
void linear_cross_entropy_rows(void* stream, const LinearCrossEntropyDesc& desc, int64_t stride,
                               const Z* z, const int64_t* target, compute_t<Z>* loss, D* dz,
                               const compute_t<Z>* row_scale);

}  // namespace plinth::kernels::cuda
