#pragma once

// Attention on the GPU in ordinary arithmetic, for every head dimension up to 256, every mask,
// layout and float type.
//
// A block works on a tile of queries (forward, dq) or of keys (dk and dv, over the query heads that
// share them, in order) against tiles of 32 rows of the other side, all widened in shared memory;
// tiles that the mask leaves empty are skipped. A warp owns 4 rows of the tile (float64: 1), a lane
// one row of the other side for the scores, and every 32nd column for the sums.
//
// Bound: 4 q kv head_dim operations a head forward, 14 backward (scores and dout . v are recomputed
// twice) at the rate of ordinary multiply-adds, of which shared memory grants about a half: 5 loads
// of 16 bytes for 16 of them. Bytes: q and out once; k and v once a tile of queries, mostly from
// the second cache.
//
// Determinism: no sum is shared between blocks, and each has one order.

#include "kernels/attention/attention_cuda.h"
#include "kernels/device/device.h"

namespace plinth::kernels::cuda::attention {

template <class T>
void plain_forward(device::Stream stream, const AttentionDesc& desc, const T* q, const T* k,
                   const T* v, T* out, compute_t<T>* lse);

// dq, dk and dv alone.
template <class T>
void plain_backward(device::Stream stream, const AttentionDesc& desc, const T* dout, const T* q,
                    const T* k, const T* v, const compute_t<T>* lse, const compute_t<T>* delta,
                    T* dq, T* dk, T* dv);

// What every backward pass begins with: delta of attention.h, in the order of lse.
template <class T>
void row_deltas(device::Stream stream, const AttentionDesc& desc, const T* dout, const T* out,
                compute_t<T>* delta);

// Overwrites desc.dbias. A pass of its own, 4 q kv head_dim operations a head, which recomputes p
// and ds: a block owns a tile of dbias and adds to it, in registers and in order, the batch
// elements, heads, queries and keys along which bias is broadcast.
template <class T>
void bias_gradient(device::Stream stream, const AttentionDesc& desc, const T* dout, const T* q,
                   const T* k, const T* v, const compute_t<T>* lse, const compute_t<T>* delta);

// Overwrites desc.dsinks, each by a block that adds the queries of its head in a fixed order. C is
// float or double.
template <class C>
void sink_gradient(device::Stream stream, const AttentionDesc& desc, const C* lse, const C* delta);

}  // namespace plinth::kernels::cuda::attention
