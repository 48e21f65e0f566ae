#pragma once

// A stable sort of indices on the GPU: the positions 0 .. count - 1 in the order of
// index[position], equal ones in the order of the positions.
//
// Least significant digit first, 4 bits a pass. A block counts the digits of a tile of 2048 keys, a
// thread its own eight; one scan over (digit, tile) gives each tile its places; then each tile
// moves its keys by a scan over (digit, thread). Counters have one writer each: there are no
// atomics, and the result is one permutation. Bytes: 24 an index and pass. Indices outside [0,
// length) come last, with the key `length`.

#include <cstddef>
#include <cstdint>

namespace plinth::kernels::cuda {

struct SortedIndices {
  const uint32_t* keys;       // ascending
  const uint32_t* positions;  // of the keys in `index`
};

// count < 2^31, length < 2^32.
size_t sort_indices_workspace(int64_t count, int64_t length);

// The result lies in the workspace.
SortedIndices sort_indices(void* stream, int64_t count, int64_t length, const int64_t* index,
                           void* workspace);

}  // namespace plinth::kernels::cuda
