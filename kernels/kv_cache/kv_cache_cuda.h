#pragma once

// Adding to a cache of keys and values on the GPU: the contract of kv_cache.h, on device pointers
// and a stream.
//
// Trick: a thread moves one word, of the widest type that rows, strides and pointers allow (16
// bytes as a rule), of the keys and one of the values. Bound: memory, each new element read and
// written once; of a few tokens, the launch: one instead of two copies'.
//
// `position`, if not null, lies in device memory and stands in for desc.position: a captured graph
// of a decoding step adds at another place at each replay.

#include <cstddef>
#include <cstdint>

#include "kernels/kv_cache/kv_cache.h"

namespace plinth::kernels::cuda {

using cpu::KVCacheDesc;

void kv_cache_append(void* stream, const KVCacheDesc& desc, size_t element_size, const void* keys,
                     const void* values, void* key_cache, void* value_cache,
                     const int64_t* position = nullptr);

}  // namespace plinth::kernels::cuda
