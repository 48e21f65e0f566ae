#pragma once

// Adding the keys and values of new tokens to a cache in pages (kernels/attention/paged_attention.h
// reads it). With j = lengths[b] - tokens + t, the place of new token t of sequence b, whose
// lengths count the new tokens already:
//
//   key_pages[block_table[b, j / page_size], j % page_size, h, :] = keys[b, h, t, :]
//
// and values likewise, in one call.
//
// Shapes       pages contiguous [pages, page_size, heads, head_dim]; keys and values [batch, heads,
//              tokens, head_dim] at any strides, the elements of a head adjacent; block_table int64
//              [batch, max_pages], contiguous; lengths int64 [batch]. Tokens whose place is not in
//              the table, or leads outside the pages, are left out.
// Dtypes       any, moved as bits; all four arrays have elements of one size.
// Aliasing     none; no two tokens have one place.
// Bytes        reads and writes each new element once.

#include <cstddef>
#include <cstdint>

namespace plinth::kernels::cpu {

struct PagedKVCacheDesc {
  struct Strides {
    int64_t batch = 0, head = 0, token = 0;  // in elements
  };

  int64_t batch = 1, heads = 1;
  int64_t tokens = 1;  // new ones
  int64_t head_dim = 0;
  int64_t pages = 0, page_size = 1, max_pages = 0;
  Strides keys = {}, values = {};
  const int64_t* block_table = nullptr;
  const int64_t* lengths = nullptr;
};

void paged_kv_cache_append(const PagedKVCacheDesc& desc, size_t element_size, const void* keys,
                           const void* values, void* key_pages, void* value_pages);

}  // namespace plinth::kernels::cpu
