#pragma once

// The keys and values of tokens that attention has seen, in pages of a pool that sequences of any
// length share: for paged_attention() (core/ops/paged_attention.h).

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace plinth::nn {

struct PagedKVCacheOptions {
  int64_t sequences = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 0;
  int64_t pages = 0;       // of the pool, allocated at once
  int64_t page_size = 16;  // tokens of a page
  int64_t max_length = 0;  // tokens of a sequence; 0: as many as the pool holds
  TensorOptions options = {};
};

class PagedKVCache {
 public:
  // Throws Error(Argument) for sizes below 1.
  explicit PagedKVCache(const PagedKVCacheOptions& options);

  // Which sequences the rows of a batch stand for from now on, in order; at first all. Throws
  // Error(Argument) for one that is not there, or twice.
  void activate(std::vector<int64_t> sequences);
  const std::vector<int64_t>& active() const { return active_; }

  // Adds keys and values [active, kv_heads, T, head_dim] of the next T tokens of each active
  // sequence, converting dtypes; takes pages from the pool where a sequence needs more. Throws
  // Error(Shape) for another geometry, beyond max_length, or where the pool has too few pages,
  // Error(Argument) for what requires grad, Error(Device) for another device; then nothing is
  // added.
  void append(const Tensor& keys, const Tensor& values);

  // What paged_attention() takes for the active sequences.
  const Tensor& key_pages() const { return key_pages_; }  // [pages, page_size, kv_heads, head_dim]
  const Tensor& value_pages() const { return value_pages_; }
  const Tensor& block_table() const { return block_table_; }  // int64 [active, pages of a sequence]
  const Tensor& kv_lengths() const { return kv_lengths_; }    // int64 [active]

  // Positions of the next `tokens` tokens of the active sequences, int64 [active, tokens].
  Tensor next_positions(int64_t tokens) const;

  // Tokens that a sequence has.
  int64_t length(int64_t sequence) const;
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  // Forgets a sequence's tokens from `length` on, and gives back the pages that held them alone: 0
  // ends the sequence. Throws Error(Argument) beyond its length.
  void truncate(int64_t sequence, int64_t length);

 private:
  struct Sequence {
    int64_t length = 0;
    std::vector<int64_t> pages;
  };

  void check_sequence(int64_t sequence) const;
  void check_room(int64_t tokens) const;
  int64_t pages_for(int64_t tokens) const;
  Tensor operand(const Tensor& x) const;
  void show_lengths();
  void show_pages();
  void write(const Tensor& keys, const Tensor& values, int64_t tokens);

  int64_t max_length_;
  Tensor key_pages_, value_pages_, block_table_, kv_lengths_;
  std::vector<Sequence> sequences_;
  std::vector<int64_t> active_;
  std::vector<int64_t> free_;  // the last is taken next
};

}  // namespace plinth::nn
