#pragma once

// What the attention of every decoder shares: projections split into heads, and a cache of keys and
// values.

#include <cstdint>
#include <vector>

#include "core/ops/attention.h"
#include "core/tensor.h"

namespace plinth {

// Views of x [..., sum of sizes] along its last dimension. Their gradients are joined in one pass,
// where slices of x would each fill a tensor of x's size.
Tensors split_last(const Tensor& x, const std::vector<int64_t>& sizes);

// Keys and values of the positions that one layer has seen, with room for more.
class KVCache {
 public:
  // Room for `length` positions.
  KVCache(int64_t batch, int64_t length, int64_t kv_heads, int64_t head_dim, TensorOptions options);

  int64_t used() const { return used_; }
  // Adds k and v [batch, time, kv_heads, head_dim]. Throws Error(Shape) beyond the room.
  void append(const Tensor& k, const Tensor& v);
  // All so far, [batch, used, kv_heads, head_dim].
  Tensor keys() const { return keys_.narrow(1, 0, used_); }
  Tensor values() const { return values_.narrow(1, 0, used_); }

 private:
  Tensor keys_, values_;
  int64_t used_ = 0;
};

// Causal attention of q [batch, time, heads, head_dim] over k and v [batch, time, kv_heads,
// head_dim], and over what the cache holds before them, if there is one: [batch, time, heads *
// head_dim].
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, KVCache* cache, double dropout);

}  // namespace plinth
