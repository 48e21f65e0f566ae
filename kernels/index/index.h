#pragma once

// Gathering and scattering along one dimension of contiguous tensors seen as [outer, length,
// inner].
//
// Dtypes       values of any dtype, moved as bits; scatter_add: floating point and integers, sums
// in the
//              compute type. Indices int64, already checked to lie in [0, length).
// Determinism  scatter_add adds in order of the index tensor; it is parallel over outer and inner
// only.

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

struct IndexShape {
  int64_t outer = 1;
  int64_t length = 0;   // of the indexed dimension of the big tensor
  int64_t indices = 0;  // of the same dimension of the index tensor
  int64_t inner = 1;
};

// out[o, i, :] = x[o, index[i], :]; one index list for all.
void index_select(const IndexShape& shape, size_t element_size, const void* x, const int64_t* index,
                  void* out);
// out[o, index[i], :] += x[o, i, :].
template <class T>
void index_add(const IndexShape& shape, const T* x, const int64_t* index, T* out);

// out[o, i, k] = x[o, index[o, i, k], k]; one index an element.
void gather(const IndexShape& shape, size_t element_size, const void* x, const int64_t* index,
            void* out);
// out[o, index[o, i, k], k] += x[o, i, k].
template <class T>
void scatter_add(const IndexShape& shape, const T* x, const int64_t* index, T* out);
// out[o, index[o, i, k], k] = x[o, i, k], the last write winning.
void scatter(const IndexShape& shape, size_t element_size, const void* x, const int64_t* index,
             void* out);

// Number of the first index outside [0, length), or -1.
int64_t first_bad_index(int64_t count, int64_t length, const int64_t* index);

}  // namespace plinth::kernels::cpu
