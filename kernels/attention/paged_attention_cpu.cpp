#include "kernels/attention/paged_attention.h"

#include <algorithm>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu {
namespace {

int64_t columns_of(const PagedAttentionDesc& d) {
  return d.attention.kv_len / d.page_size;
}

// The first `length` rows of a sequence's heads, one head after the other.
template <class T>
void gather(const PagedAttentionDesc& d, int64_t sequence, int64_t length, const T* cache,
            const AttentionDesc::Strides& strides, T* to) {
  const int64_t dim = d.attention.head_dim, pages = (length + d.page_size - 1) / d.page_size;
  const int64_t grain = grain_for(d.page_size * dim);
  parallel_for(d.attention.kv_heads * pages, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t head = t / pages, first = t % pages * d.page_size;
      const int64_t rows = std::min(d.page_size, length - first);
      const T* from = cache + page_at(d, sequence * columns_of(d) + t % pages) * strides.batch +
                      head * strides.head;
      T* row = to + (head * length + first) * dim;
      for (int64_t i = 0; i < rows; ++i, from += strides.seq, row += dim)
        std::copy(from, from + dim, row);
    }
  });
}

}  // namespace

int64_t page_at(const PagedAttentionDesc& d, int64_t number) {
  const int64_t columns = columns_of(d);
  const int64_t i = number / columns * d.table_stride + number % columns;
  return d.wide_table ? static_cast<const int64_t*>(d.block_table)[i]
                      : static_cast<const int32_t*>(d.block_table)[i];
}

int64_t first_bad_page(const PagedAttentionDesc& d) {
  const int64_t columns = columns_of(d);
  for (int64_t b = 0; b < d.attention.batch; ++b) {
    for (int64_t n = 0; n * d.page_size < d.attention.kv_lengths[b]; ++n) {
      const int64_t page = page_at(d, b * columns + n);
      if (page < 0 || page >= d.pages) return b * columns + n;
    }
  }
  return -1;
}

// Each sequence is brought together and attended to as one that is contiguous.
template <class T>
void paged_attention_forward(const PagedAttentionDesc& desc, const T* q, const T* k, const T* v,
                             T* out, compute_t<T>* lse) {
  static thread_local Scratch k_scratch, v_scratch;
  const AttentionDesc& all = desc.attention;
  for (int64_t b = 0; b < all.batch; ++b) {
    AttentionDesc d = all;
    d.batch = 1;
    d.kv_len = all.kv_lengths[b];
    d.kv_lengths = nullptr;
    const int64_t size = d.kv_heads * d.kv_len * d.head_dim;
    d.k = d.v = {size, d.kv_len * d.head_dim, d.head_dim};
    T* const keys = k_scratch.get<T>(size);
    T* const values = v_scratch.get<T>(size);
    gather(desc, b, d.kv_len, k, all.k, keys);
    gather(desc, b, d.kv_len, v, all.v, values);
    if (d.bias) d.bias = static_cast<const T*>(d.bias) + b * d.bias_strides.batch;
    attention_forward<T>(d, q + b * all.q.batch, keys, values, out + b * all.out.batch,
                         lse + b * all.heads * all.q_len);
  }
}

#define PLINTH_INSTANTIATE(T)                                                                    \
  template void paged_attention_forward(const PagedAttentionDesc&, const T*, const T*, const T*, \
                                        T*, compute_t<T>*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
