#include <cstring>

#include "kernels/kv_cache/kv_cache.h"
#include "kernels/parallel.h"

namespace plinth::kernels::cpu {

void kv_cache_append(const KVCacheDesc& d, size_t element_size, const void* keys,
                     const void* values, void* key_cache, void* value_cache) {
  const auto size = static_cast<int64_t>(element_size);
  const int64_t bytes = d.head_dim * size;
  parallel_for(
      d.batch * d.heads * d.tokens, grain_for(2 * d.head_dim), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t t = row % d.tokens, line = row / d.tokens;
          const int64_t h = line % d.heads, b = line / d.heads;
          if (d.position + t < 0 || d.position + t >= d.capacity) continue;
          const int64_t to = (line * d.capacity + d.position + t) * bytes;
          const auto move = [&](const KVCacheDesc::Strides& s, const void* x, void* cache) {
            const int64_t from = (b * s.batch + h * s.head + t * s.token) * size;
            std::memcpy(static_cast<char*>(cache) + to, static_cast<const char*>(x) + from,
                        static_cast<size_t>(bytes));
          };
          move(d.keys, keys, key_cache);
          move(d.values, values, value_cache);
        }
      });
}

}  // namespace plinth::kernels::cpu
