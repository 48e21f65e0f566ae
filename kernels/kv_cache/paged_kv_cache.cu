#include "kernels/device_loop.cuh"
#include "kernels/kv_cache/paged_kv_cache_cuda.h"

namespace plinth::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;

using Word16 = Vector<uint64_t, 2>;

// Number of a thread's word: ((batch * tokens + token) * heads + head) * words + word. Strides are
// in words.
struct Places {
  uint32_t count;
  Division words, heads, tokens;
};

template <class Word>
PLINTH_KERNEL void append_kernel(PagedKVCacheDesc d, Places places, int64_t first,
                                 Global<const int64_t> table, Global<const int64_t> lengths,
                                 Global<const Word> keys, Global<const Word> values,
                                 Global<Word> key_pages, Global<Word> value_pages) {
  const uint32_t number = block_index().x * kThreads + thread_index();
  if (number >= places.count) return;
  const uint32_t row = places.words.quotient(number), line = places.heads.quotient(row);
  const int64_t word = number - row * places.words.divisor;
  const int64_t head = row - line * places.heads.divisor;
  const uint32_t sequence = places.tokens.quotient(line);
  const int64_t token = line - sequence * places.tokens.divisor;
  const int64_t batch = first + sequence;
  int64_t at = lengths[batch];
  at += token - d.tokens;
  if (at < 0 || at / d.page_size >= d.max_pages) return;
  const int64_t page = table[batch * d.max_pages + at / d.page_size];
  if (page < 0 || page >= d.pages) return;
  const int64_t to =
      ((page * d.page_size + at % d.page_size) * d.heads + head) * places.words.divisor + word;
  const Word key = keys[batch * d.keys.batch + head * d.keys.head + token * d.keys.token + word];
  const Word value =
      values[batch * d.values.batch + head * d.values.head + token * d.values.token + word];
  key_pages[to] = key;
  value_pages[to] = value;
}

// As many sequences a launch as 31 bits number words.
template <class Word>
void append_words(void* stream, const PagedKVCacheDesc& desc, int64_t elements_a_word,
                  const void* keys, const void* values, void* key_pages, void* value_pages) {
  PagedKVCacheDesc d = desc;
  for (int64_t* stride : {&d.keys.batch, &d.keys.head, &d.keys.token, &d.values.batch,
                          &d.values.head, &d.values.token})
    *stride /= elements_a_word;
  const int64_t words = d.head_dim / elements_a_word;
  const int64_t of_one = d.heads * d.tokens * words;
  const int64_t most = std::max<int64_t>(1, ((int64_t{1} << 31) - 1) / of_one);
  for (int64_t first = 0; first < d.batch; first += most) {
    const auto count = static_cast<uint32_t>(std::min(most, d.batch - first) * of_one);
    launch("paged_kv_cache_append", append_kernel<Word>,
           {{(count + kThreads - 1) / kThreads}, {kThreads}, 0}, static_cast<Stream>(stream), d,
           Places{count, Division(words), Division(d.heads), Division(d.tokens)}, first,
           d.block_table, d.lengths, static_cast<const Word*>(keys),
           static_cast<const Word*>(values), static_cast<Word*>(key_pages),
           static_cast<Word*>(value_pages));
  }
}

}  // namespace

void paged_kv_cache_append(void* stream, const PagedKVCacheDesc& d, size_t element_size,
                           const void* keys, const void* values, void* key_pages,
                           void* value_pages) {
  if (d.batch == 0 || d.heads == 0 || d.tokens == 0 || d.head_dim == 0) return;
  const auto allows = [&](size_t word) {
    if (word % element_size != 0) return false;
    const auto elements = static_cast<int64_t>(word / element_size);
    for (const int64_t n : {d.head_dim, d.keys.batch, d.keys.head, d.keys.token, d.values.batch,
                            d.values.head, d.values.token}) {
      if (n % elements != 0) return false;
    }
    for (const void* p : std::initializer_list<const void*>{keys, values, key_pages, value_pages}) {
      if (reinterpret_cast<uintptr_t>(p) % word != 0) return false;
    }
    return true;
  };
  const auto append = [&]<class Word>(Word) {
    append_words<Word>(stream, d, static_cast<int64_t>(sizeof(Word) / element_size), keys, values,
                       key_pages, value_pages);
  };
  if (allows(16)) return append(Word16{});
  if (allows(8)) return append(uint64_t{});
  if (allows(4)) return append(uint32_t{});
  if (allows(2)) return append(uint16_t{});
  append(uint8_t{});
}

}  // namespace plinth::kernels::cuda
