#pragma once

// Adding to a paged cache on the GPU: the contract of paged_kv_cache.h, on device pointers, those
// of the description among them, and a stream.
//
// Trick: a thread moves one word, of the widest type that rows, strides and pointers allow (16
// bytes as a rule), of the keys and one of the values. Bound: memory, each new element read and
// written once; of a few tokens, the launch.

#include "kernels/kv_cache/paged_kv_cache.h"

namespace plinth::kernels::cuda {

using cpu::PagedKVCacheDesc;

void paged_kv_cache_append(void* stream, const PagedKVCacheDesc& desc, size_t element_size,
                           const void* keys, const void* values, void* key_pages,
                           void* value_pages);

}  // namespace plinth::kernels::cuda
