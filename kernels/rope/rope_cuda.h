#pragma once

// Rotary position embedding on the GPU: the contract of rope.h, on device pointers and a stream.
// The tables of cos and sin are those that cpu::rope_table makes, copied to the device: the same
// angles on either.
//
// A block turns the heads of a token, a thread one 16-byte vector of interleaved pairs, or the two
// vectors whose elements are pairs. Bound: 2 sizeof(T) bytes an element; the token's row of the
// tables stays in the first cache across its heads; about 4 operations an element. Where head_dim,
// rotary_dim, strides or pointers are not whole vectors, pairs are turned one by one. Of positions
// outside [0, desc.table_rows) the nearest row is taken.

#include <cstdint>

#include "kernels/rope/rope.h"
#include "kernels/types.h"

namespace plinth::kernels::cuda {

using cpu::RopeDesc;

template <class T>
void rope(void* stream, const RopeDesc& desc, const T* x, const compute_t<T>* cos,
          const compute_t<T>* sin, const int64_t* positions, T* y);

// Writes to *first, on the device, the first index whose position is not in [0, table_rows), or -1.
void first_bad_position(void* stream, int64_t n, int64_t table_rows, const int64_t* positions,
                        int64_t* first);

}  // namespace plinth::kernels::cuda
