#pragma once

// Attention on the GPU: the contract of attention.h, on a stream. All pointers are the device's,
// and so are desc.kv_lengths, desc.cu_seqlens_q and desc.cu_seqlens_k.
//
// Plain kernels for every head dimension up to 256, every mask, layout and float type, in ordinary
// arithmetic: the reference for faster ones, and what runs where those do not fit. A block works on
// a tile of queries (forward, dq) or of keys (dk and dv, over the query heads that share them, in
// order) against tiles of 32 rows of the other side, all widened in shared memory; tiles that the
// mask leaves empty are skipped. A warp owns 4 rows of the tile (float64: 1), a lane one row of the
// other side for the scores, and every 32nd column for the sums.
//
// Bound: 4 q kv head_dim operations a head forward, 14 backward (scores and dout . v are recomputed
// twice) at the rate of ordinary multiply-adds, of which shared memory grants about a half: 5 loads
// of 16 bytes for 16 of them. Bytes: q and out once; k and v once a tile of queries, mostly from
// the second cache.
//
// Determinism: no sum is shared between blocks, and each has one order.

#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention.h"
#include "kernels/types.h"

namespace plinth::kernels::cuda {

using cpu::AttentionDesc;

template <class T>
void attention_forward(void* stream, const AttentionDesc& desc, const T* q, const T* k, const T* v,
                       T* out, compute_t<T>* lse);

// Bytes of workspace that the backward pass needs.
template <class T>
size_t attention_backward_workspace(const AttentionDesc& desc);

// Overwrites dq, dk, dv.
template <class T>
void attention_backward(void* stream, const AttentionDesc& desc, const T* dout, const T* q,
                        const T* k, const T* v, const T* out, const compute_t<T>* lse, T* dq, T* dk,
                        T* dv, void* workspace);

}  // namespace plinth::kernels::cuda
