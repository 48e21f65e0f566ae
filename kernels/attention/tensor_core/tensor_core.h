#pragma once

// Attention by mma.sync, from sm_80 on: bfloat16 and float16, every head_dim that is a multiple of
// 8 up to 256, every mask, layout and score of attention.h. Sums and softmax are in float32;
// weights and their gradients are rounded to T as operands of products.
//
// FlashAttention-2 (arXiv 2307.08691). Forward and for dq, a block of four warps owns queries and
// walks over tiles of keys and values; for dk and dv it owns keys and walks over the queries of the
// heads that share them, in order. cp.async brings a tile while the products of another run; rows
// that are not there, or padding, become zeros. Tiles that no query of a block sees are not
// visited, nor by a warp those that none of its own sees; only tiles at the mask's edge are masked.
// Scores and weights stay in the registers where mma.sync leaves them, which is where it wants the
// first operand of the next product. A call that asks for a scale alone has kernels of its own.
//
// Operations a head: forward 4 q kv head_dim, backward 14 (scores and dout . v are recomputed for
// dq and for dk and dv), with dk and dv apart at 256 columns 16; of the columns that a tile has:
// 64, 96, 128 or 256. Bytes: q, out and their gradients once; k and v once for each tile of
// queries, q and dout once for each tile of keys, mostly from the second cache.
//
// Bound: mma.sync takes 8 cycles of a quarter of a multiprocessor, the ldmatrix that serves two of
// them 4 cycles of all its shared memory. For a scale alone: rows that a warp owns, rows of the
// other side's tiles, and the cycles of shared memory in those of the tensor cores:
//
//   columns                        64           96           128          256
//   forward   rows, keys, ratio    32, 64, .5   32, 64, .6   32, 32, .75  16, 32, 1.25
//   dq        rows, keys, ratio    32, 32, .8   32, 32, .8   16, 32, 1    16, 32, 1.3
//   dk and dv rows, queries, ratio 16, 64, 1    16, 32, 1    16, 32, 1.25 16, 32, 1.3
//   KiB of shared memory           32, 48, 48   48, 72, 48   48, 64, 64   64, 96, 96
//
// so that the tensor cores bound the forward pass but at 256 columns, and shared memory most of the
// backward pass. At 64 columns the softmax, about ten instructions and an exponential a score,
// takes as long as the products. Two blocks share a multiprocessor by registers; at 96 KiB only one
// has room on sm_80. Predicted, not measured.
//
// Determinism: no sum is shared between blocks. Tiles begin at multiples of their rows from the
// sequence's first, so that a row's bits depend on its own sequence alone.

#include <initializer_list>
#include <string>

#include "kernels/attention/attention_cuda.h"
#include "kernels/device/device.h"

namespace plinth::kernels::cuda::attention {

// Whether the kernels take a call; if not, says why. T is any float. The pointers are those of q,
// k, v and out, and for the backward pass of dout, dq, dk and dv, as far as they are known yet.
template <class T>
bool tensor_core_takes(const AttentionDesc& desc, bool backward,
                       std::initializer_list<const void*> pointers, std::string* why);

// T is BFloat16 or Float16.
template <class T>
void tensor_core_forward(device::Stream stream, const AttentionDesc& desc, const T* q, const T* k,
                         const T* v, T* out, float* lse);

// dq, dk and dv alone. `delta` is of row_deltas().
template <class T>
void tensor_core_backward(device::Stream stream, const AttentionDesc& desc, const T* dout,
                          const T* q, const T* k, const T* v, const float* lse, const float* delta,
                          T* dq, T* dk, T* dv);

}  // namespace plinth::kernels::cuda::attention
