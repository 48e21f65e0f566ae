#pragma once

// Float8 on the GPU: the contract of float8.h, on device pointers and a stream.
//
// Trick: a block quantises a tile of 64 x 64, which it holds in shared memory to write the
// transposed copy in 16-byte pieces too; the amax of a tile comes with it, so that delayed scaling
// reads a matrix once.
//
// Bound: memory; (sizeof(T) + 1 or 2) rows cols bytes.

#include "kernels/float8/float8.h"

namespace plinth::kernels::cuda {

using kernels::float8_tiles;

template <class T>
void float8_amax(void* stream, int64_t rows, int64_t cols, const T* x, float* amaxes);

void float8_scale(void* stream, int64_t count, const float* amaxes, float largest, float margin,
                  float* scale);

// length is at most 1024.
void float8_record(void* stream, int64_t count, const float* amaxes, int64_t length,
                   float* history);

template <class T, class F>
void float8_quantise(void* stream, int64_t rows, int64_t padded, int64_t cols, const T* x,
                     const float* scale, F* q, F* q_transposed, float* amaxes);

}  // namespace plinth::kernels::cuda
