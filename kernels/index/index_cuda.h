#pragma once

// Gathering and scattering on the GPU: the contract of index.h, on device pointers and a stream.
//
// An index outside [0, length) reads zeros and writes nothing, so that nothing has to wait for the
// check: report_bad_index() leaves its answer where the host looks when it waits anyway.
//
// Trick: index_select moves the widest words that row and pointers allow. index_add sorts
// the indices (sort_cuda.h) and adds the rows of equal ones in their order, in the compute type,
// rounding once; long runs are cut at multiples of 64 and their parts added in order. scatter and
// scatter_add give each line (outer, inner) to a thread that goes through its indices in order.
// Bound: memory; index_select and gather read and write each element of the output once, and its
// index. index_add reads x once, reads and writes the rows that occur, and sorts 8 bytes an index
// in a pass for every 4 bits of length. scatter and scatter_add are bound by latency where outer
// times inner is small.

#include <cstddef>
#include <cstdint>

#include "kernels/index/index.h"
#include "kernels/index/index_fault.h"

namespace plinth::kernels::cuda {

using cpu::IndexShape;

void index_select(void* stream, const IndexShape& shape, size_t element_size, const void* x,
                  const int64_t* index, void* out);

// Bytes of workspace of index_add(), for the elements' type T; fewer than 2^31 indices, and a
// length below 2^32.
template <class T>
size_t index_add_workspace(const IndexShape& shape);
template <class T>
void index_add(void* stream, const IndexShape& shape, const T* x, const int64_t* index, T* out,
               void* workspace);

void gather(void* stream, const IndexShape& shape, size_t element_size, const void* x,
            const int64_t* index, void* out);

template <class T>
void scatter_add(void* stream, const IndexShape& shape, const T* x, const int64_t* index, T* out);

void scatter(void* stream, const IndexShape& shape, size_t element_size, const void* x,
             const int64_t* index, void* out);

// If first_bad_index() of index.h would find one, and *fault holds none yet (its check is 0),
// writes `check`, which is not 0, and the index there. *fault is device memory or pinned host
// memory; the host reads it when the device has no work left.
void report_bad_index(void* stream, int64_t count, int64_t length, const int64_t* index,
                      uint32_t check, IndexFault* fault);

}  // namespace plinth::kernels::cuda
