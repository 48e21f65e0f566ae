#include "nn/layers/paged_kv_cache.h"

#include <algorithm>
#include <numeric>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "core/ops/on_device.h"
#include "kernels/kv_cache/paged_kv_cache.h"
#include "kernels/kv_cache/paged_kv_cache_cuda.h"

namespace plinth::nn {

using kernels::cpu::PagedKVCacheDesc;

PagedKVCache::PagedKVCache(const PagedKVCacheOptions& o) {
  check(o.sequences > 0 && o.kv_heads > 0 && o.head_dim > 0 && o.pages > 0 && o.page_size > 0 &&
            o.max_length >= 0,
        ErrorKind::Argument, "PagedKVCache", "got sequences ", o.sequences, ", kv_heads ",
        o.kv_heads, ", head_dim ", o.head_dim, ", pages ", o.pages, ", page_size ", o.page_size,
        ", max_length ", o.max_length, ", expected at least 1 each");
  key_pages_ = Tensor::empty({o.pages, o.page_size, o.kv_heads, o.head_dim}, o.options);
  value_pages_ = Tensor::empty({o.pages, o.page_size, o.kv_heads, o.head_dim}, o.options);
  const int64_t room = o.pages * o.page_size;
  max_length_ = o.max_length == 0 ? room : std::min(room, o.max_length);
  sequences_.resize(o.sequences);
  free_.resize(o.pages);
  std::iota(free_.rbegin(), free_.rend(), 0);
  active_.resize(o.sequences);
  std::iota(active_.begin(), active_.end(), 0);
  show_lengths();
  show_pages();
}

void PagedKVCache::check_sequence(int64_t sequence) const {
  const auto count = static_cast<int64_t>(sequences_.size());
  check(sequence >= 0 && sequence < count, ErrorKind::Argument, "PagedKVCache", "got sequence ",
        sequence, ", expected within [0, ", count, ")");
}

void PagedKVCache::activate(std::vector<int64_t> sequences) {
  std::vector<bool> seen(sequences_.size());
  for (const int64_t sequence : sequences) {
    check_sequence(sequence);
    check(!seen[sequence], ErrorKind::Argument, "PagedKVCache", "got sequence ", sequence,
          " twice");
    seen[sequence] = true;
  }
  active_ = std::move(sequences);
  show_lengths();
  show_pages();
}

int64_t PagedKVCache::pages_for(int64_t tokens) const {
  return (tokens + key_pages_.size(1) - 1) / key_pages_.size(1);
}

void PagedKVCache::check_room(int64_t tokens) const {
  int64_t needed = 0;
  for (const int64_t i : active_) {
    const int64_t length = sequences_[i].length;
    check(length + tokens <= max_length_, ErrorKind::Shape, "PagedKVCache", tokens,
          " tokens do not fit: sequence ", i, " has ", length, " of at most ", max_length_);
    needed += pages_for(length + tokens) - pages_for(length);
  }
  check(needed <= free_pages(), ErrorKind::Shape, "PagedKVCache", tokens,
        " tokens do not fit: they need ", needed, " pages, and ", free_pages(), " of ",
        key_pages_.size(0), " are free");
}

void PagedKVCache::append(const Tensor& keys, const Tensor& values) {
  const auto rows = static_cast<int64_t>(active_.size());
  const int64_t tokens = keys.dim() == 4 ? keys.size(2) : 0;
  const Shape expected = {rows, key_pages_.size(2), tokens, key_pages_.size(3)};
  check(keys.shape() == expected && values.shape() == expected, ErrorKind::Shape, "PagedKVCache",
        "got keys ", keys.shape(), " and values ", values.shape(), ", expected [", rows, ", ",
        key_pages_.size(2), ", tokens, ", key_pages_.size(3), "]");
  check(!needs_grad({keys, values}), ErrorKind::Argument, "PagedKVCache",
        "keys or values require grad, which the cache would drop; hold a NoGradGuard");
  const NoGradGuard no_grad;
  const Tensor from_keys = operand(keys), from_values = operand(values);
  check_room(tokens);
  bool grown = false;
  for (const int64_t i : active_) {
    Sequence& sequence = sequences_[i];
    sequence.length += tokens;
    while (static_cast<int64_t>(sequence.pages.size()) < pages_for(sequence.length)) {
      sequence.pages.push_back(free_.back());
      free_.pop_back();
      grown = true;
    }
  }
  show_lengths();
  if (grown) show_pages();
  write(from_keys, from_values, tokens);
}

// x in the cache's dtype, with the elements of a head adjacent.
Tensor PagedKVCache::operand(const Tensor& x) const {
  check(x.device() == key_pages_.device(), ErrorKind::Device, "PagedKVCache",
        "got keys or values on ", x.device(), ", expected ", key_pages_.device(),
        " (that of the cache)");
  const Tensor converted = x.detach().to(key_pages_.dtype());
  return converted.strides()[3] == 1 ? converted : converted.contiguous();
}

void PagedKVCache::show_lengths() {
  const auto rows = static_cast<int64_t>(active_.size());
  std::vector<int64_t> lengths;
  for (const int64_t i : active_) lengths.push_back(sequences_[i].length);
  kv_lengths_ = from_values(lengths, {rows}).to(key_pages_.device());
}

// Entries that hold no page are 0, and not read.
void PagedKVCache::show_pages() {
  const auto rows = static_cast<int64_t>(active_.size());
  const int64_t columns = pages_for(max_length_);
  std::vector<int64_t> table(rows * columns);
  for (int64_t row = 0; row < rows; ++row)
    std::ranges::copy(sequences_[active_[row]].pages, table.begin() + row * columns);
  block_table_ = from_values(table, {rows, columns}).to(key_pages_.device());
}

void PagedKVCache::write(const Tensor& keys, const Tensor& values, int64_t tokens) {
  const auto strides = [](const Tensor& x) -> PagedKVCacheDesc::Strides {
    return {.batch = x.strides()[0], .head = x.strides()[1], .token = x.strides()[2]};
  };
  const PagedKVCacheDesc desc{.batch = keys.size(0),
                              .heads = keys.size(1),
                              .tokens = tokens,
                              .head_dim = keys.size(3),
                              .pages = key_pages_.size(0),
                              .page_size = key_pages_.size(1),
                              .max_pages = block_table_.size(1),
                              .keys = strides(keys),
                              .values = strides(values),
                              .block_table = block_table_.data<int64_t>(),
                              .lengths = kv_lengths_.data<int64_t>()};
  PLINTH_RUN(keys, paged_kv_cache_append, desc, size_of(keys.dtype()), keys.raw_data(),
             values.raw_data(), key_pages_.raw_data(), value_pages_.raw_data());
  key_pages_.storage()->bump_version();
  value_pages_.storage()->bump_version();
}

Tensor PagedKVCache::next_positions(int64_t tokens) const {
  std::vector<int64_t> positions;
  for (const int64_t i : active_) {
    for (int64_t t = 0; t < tokens; ++t) positions.push_back(sequences_[i].length + t);
  }
  return from_values(positions, {static_cast<int64_t>(active_.size()), tokens})
      .to(key_pages_.device());
}

int64_t PagedKVCache::length(int64_t sequence) const {
  check_sequence(sequence);
  return sequences_[sequence].length;
}

void PagedKVCache::truncate(int64_t sequence, int64_t length) {
  check_sequence(sequence);
  Sequence& kept = sequences_[sequence];
  check(length >= 0 && length <= kept.length, ErrorKind::Argument, "PagedKVCache",
        "cannot truncate sequence ", sequence, " to ", length, " tokens: it has ", kept.length);
  kept.length = length;
  while (static_cast<int64_t>(kept.pages.size()) > pages_for(length)) {
    free_.push_back(kept.pages.back());
    kept.pages.pop_back();
  }
  show_lengths();
  show_pages();
}

}  // namespace plinth::nn
