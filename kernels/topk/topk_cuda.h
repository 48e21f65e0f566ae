#pragma once

// topk on the GPU: the contract of topk.h, on device pointers and a stream.
//
// A warp has a row, and finds the elements one after the other: the first of those that come after
// the one before, by a pass of the row and a reduction. No workspace, no sorting. Bound: k passes
// of rows that lie in the caches after the first, 4 operations an element each. For the few of k,
// and the short rows, of a router of experts; for hundreds of a vocabulary a sort is faster.

#include <cstdint>

#include "kernels/topk/topk.h"

namespace plinth::kernels::cuda {

template <class T>
void topk(void* stream, int64_t rows, int64_t cols, int64_t k, const T* x, int64_t* out);

}  // namespace plinth::kernels::cuda
