#include <cstring>

#include "kernels/kv_cache/paged_kv_cache.h"
#include "kernels/parallel.h"

namespace plinth::kernels::cpu {
namespace {

// The row of the pages where a new token goes; -1 if there is none.
int64_t row_of(const PagedKVCacheDesc& d, int64_t sequence, int64_t token) {
  const int64_t at = d.lengths[sequence] - d.tokens + token;
  if (at < 0 || at / d.page_size >= d.max_pages) return -1;
  const int64_t page = d.block_table[sequence * d.max_pages + at / d.page_size];
  return page >= 0 && page < d.pages ? page * d.page_size + at % d.page_size : -1;
}

}  // namespace

void paged_kv_cache_append(const PagedKVCacheDesc& d, size_t element_size, const void* keys,
                           const void* values, void* key_pages, void* value_pages) {
  const auto size = static_cast<int64_t>(element_size);
  const int64_t bytes = d.head_dim * size;
  const int64_t grain = grain_for(2 * d.head_dim);
  parallel_for(d.batch * d.heads * d.tokens, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t h = i % d.heads, t = i / d.heads % d.tokens, b = i / d.heads / d.tokens;
      const int64_t row = row_of(d, b, t);
      if (row < 0) continue;
      const auto move = [&](const PagedKVCacheDesc::Strides& s, const void* x, void* pages) {
        const int64_t from = (b * s.batch + h * s.head + t * s.token) * size;
        std::memcpy(static_cast<char*>(pages) + (row * d.heads + h) * bytes,
                    static_cast<const char*>(x) + from, static_cast<size_t>(bytes));
      };
      move(d.keys, keys, key_pages);
      move(d.values, values, value_pages);
    }
  });
}

}  // namespace plinth::kernels::cpu
