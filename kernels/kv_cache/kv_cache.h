#pragma once

// Adding the keys and values of new tokens to a cache of those that attention has seen:
//
//   key_cache[b, h, position + t, :] = keys[b, h, t, :]      and values likewise, in one call
//
// Shapes       caches contiguous [batch, heads, capacity, head_dim]; keys and values [batch, heads,
//              tokens, head_dim] at any strides, the elements of a head adjacent. Tokens whose
//              place is not in [0, capacity) are left out.
// Dtypes       any, moved as bits; all four arrays have elements of one size.
// Aliasing     none.
// Bytes        reads and writes each new element once.

#include <cstddef>
#include <cstdint>

namespace plinth::kernels::cpu {

struct KVCacheDesc {
  struct Strides {
    int64_t batch = 0, head = 0, token = 0;  // in elements
  };

  int64_t batch = 1;
  int64_t heads = 1;  // of keys and values
  int64_t capacity = 0;
  int64_t tokens = 1;  // new ones
  int64_t head_dim = 0;
  int64_t position = 0;  // of the first new token
  Strides keys = {}, values = {};
};

void kv_cache_append(const KVCacheDesc& desc, size_t element_size, const void* keys,
                     const void* values, void* key_cache, void* value_cache);

}  // namespace plinth::kernels::cpu
