#pragma once

// Attention of few queries to many keys on the GPU, as when a model generates: each step reads the
// whole cache and does little with it.
//
// A block reads one key/value head of one sequence, and serves all queries of all query heads that
// share it: k and v come from memory once for the group (up to 64 rows of q; 8 in float32). The
// keys are cut into splits of kDecodeSplit, numbered from the sequence's first key, and a block
// takes every n-th of them; n fills the GPU. A split's part of the softmax, (largest score, sum,
// weighted values), goes to the workspace, and a second kernel adds the parts in order. Where the
// cache has room for one split only, the first kernel writes the result itself.
//
// Bound: memory, the bytes of k and v. Their tiles pass through shared memory by 16-byte
// cp.async, one tile ahead, so that each of the two or three blocks of a multiprocessor has 32 KiB
// on their way at head_dim 128. Of b-byte elements a key has 2 b head_dim bytes, and a row of q
// costs 4 head_dim operations for it:
//
//   bfloat16, float16   mma.sync, whose 16 rows cost 16 operations a byte however few are used: at
//                       3.3 TB/s 53 TFLOP/s, a tenth or less of what the tensor cores of the GPUs
//                       with such memory do. Multiply-adds would be as fast for one row only.
//   float32, float64    multiply-adds: half an operation a byte and row for float32, so that up to
//                       8 rows, 13 TFLOP/s at 3.3 TB/s, stay below the rate of the units
//
// The parts cost rows / 128 of the bytes of a split in 16-bit types: of one query in groups of 8, a
// sixteenth.
//
// Determinism: splits lie by key numbers alone and are added in a fixed order, so the rows of a
// sequence have the same bits in any batch, beside sequences of any length, on any GPU's number of
// multiprocessors, and from contiguous and paged caches.

#include <string>

#include "kernels/attention/attention_cuda.h"
#include "kernels/device/device.h"

namespace plinth::kernels::cuda::attention {

inline constexpr int64_t kDecodeSplit = 256;  // keys
// What a call of few queries has at most: queries, and rows of q that share a key/value head.
inline constexpr int64_t kDecodeQueries = 16;
inline constexpr int64_t kDecodeRows = 128;

// Whether decode_forward() takes a call: at most kDecodeQueries queries and kDecodeRows rows, fewer
// than 2^31 keys, no dropout, no functor, no packed sequences, a head_dim of whole 16-byte vectors
// up to 256, and rows of k and v at multiples of them. The pointers k and v must be aligned to 16
// bytes.
template <class T>
bool decode_takes(const AttentionDesc& desc);
// And whether these pointers are so, and the workspace there if one is needed.
template <class T>
bool decode_takes(const AttentionDesc& desc, const T* k, const T* v, const void* workspace);

// Bytes of workspace.
template <class T>
size_t decode_workspace(const AttentionDesc& desc);

// The contract of attention.h.
template <class T>
void decode_forward(device::Stream stream, const AttentionDesc& desc, const T* q, const T* k,
                    const T* v, T* out, compute_t<T>* lse, void* workspace);

}  // namespace plinth::kernels::cuda::attention
