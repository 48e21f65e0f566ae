#pragma once

// Column sums on the GPU: the contract of column_sum.h, on device pointers and a stream. It is the
// sum over the first dimension of reduce_cuda.h, whose trick, bound and determinism it has.

#include <cstddef>
#include <cstdint>

namespace plinth::kernels::cuda {

// Bytes of workspace that column_sum() needs.
size_t column_sum_workspace(int64_t rows, int64_t cols);

template <class T>
void column_sum(void* stream, int64_t rows, int64_t cols, const T* x, T* out, void* workspace);

}  // namespace plinth::kernels::cuda
