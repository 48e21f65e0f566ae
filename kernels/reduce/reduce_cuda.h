#pragma once

// Reductions on the GPU: the contract of reduce.h, on device pointers and a stream, for every shape
// and stride.
//
// Trick: where neighbouring elements are reduced, a warp (rows of up to 2048) or a block reads them
// in vectors of 16 bytes; where neighbouring elements are kept, a warp reads a strip of columns,
// and the block's warps take rows in turn. Each thread has four vectors on their way, adds those
// pairwise, and only then adds to what it has, so that a chain of additions is short; the threads'
// values join in a tree. Few outputs of many elements are cut into up to 1024 segments, whose
// values a second kernel joins.
//
// Bound: memory, one read an input element.
//
// Determinism: the order
// depends on sizes and strides only. It is not the CPU's order; the error grows like its, with the
// logarithm of the count (and with count / 2^22 beyond four million).

#include <cstddef>
#include <cstdint>

#include "kernels/reduce/reduce.h"

namespace plinth::kernels::cuda {

// Bytes of workspace that reduce(), any() and all() need for a shape, whatever the dtype; often 0.
size_t reduce_workspace(const Reduction& shape);

template <class T>
void reduce(void* stream, ReduceOp op, const Reduction& shape, const T* x, T* out, void* workspace);

// A block an output reads its elements once; not cut into segments.
template <class T>
void argmax(void* stream, const Reduction& shape, const T* x, int64_t* out);

void any(void* stream, const Reduction& shape, const bool* x, bool* out, void* workspace);
void all(void* stream, const Reduction& shape, const bool* x, bool* out, void* workspace);

// A block scans a row, 1024 elements a step; bfloat16 and float16 carry float32 from step to step.
template <class T>
void cumsum(void* stream, int64_t rows, int64_t length, const T* x, T* out);

}  // namespace plinth::kernels::cuda
