#pragma once

// The keys and values of tokens that attention has seen, for decoding a few tokens at a time.

#include <cstdint>

#include "core/tensor.h"

namespace plinth::nn {

class KVCache {
 public:
  struct View {
    Tensor keys, values;  // [batch, kv_heads, length, head_dim], views of the cache
  };

  // Room for `capacity` tokens, allocated at once.
  KVCache(int64_t batch, int64_t kv_heads, int64_t capacity, int64_t head_dim,
          TensorOptions options = {});

  // Adds keys and values [batch, kv_heads, T, head_dim] of the T tokens at positions length() ..
  // length() + T - 1, converting dtypes, and returns all up to them. Throws Error(Shape) for
  // another geometry or beyond the capacity, Error(Argument) for what requires grad, Error(Device)
  // for another device; then nothing is added.
  View append(const Tensor& keys, const Tensor& values);
  // What it holds.
  View view() const;

  // Tokens held: the position of the next.
  int64_t length() const { return length_; }
  int64_t capacity() const { return keys_.size(2); }
  // Row i becomes a copy of the row rows[i], int64 [any number], as beams go on from each other.
  // Throws Error(Argument) for a row that is not there.
  void select(const Tensor& rows);
  // Forgets the tokens from `length` on: 0 begins anew. Throws Error(Argument) beyond length().
  void truncate(int64_t length);

 private:
  Tensor operand(const Tensor& x) const;
  void write(const Tensor& keys, const Tensor& values, int64_t tokens);

  Tensor keys_, values_;
  int64_t length_ = 0;
};

}  // namespace plinth::nn
