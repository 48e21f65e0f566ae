#include "nn/layers/kv_cache.h"

#include "core/autograd.h"
#include "core/error.h"

namespace plinth::nn {

KVCache::KVCache(int64_t batch, int64_t kv_heads, int64_t capacity, int64_t head_dim,
                 TensorOptions options) {
  check(batch > 0 && kv_heads > 0 && capacity > 0 && head_dim > 0, ErrorKind::Argument, "KVCache",
        "got batch ", batch, ", kv_heads ", kv_heads, ", capacity ", capacity, ", head_dim ",
        head_dim, ", expected at least 1 each");
  keys_ = Tensor::empty({batch, kv_heads, capacity, head_dim}, options);
  values_ = Tensor::empty({batch, kv_heads, capacity, head_dim}, options);
}

KVCache::View KVCache::append(const Tensor& keys, const Tensor& values) {
  const int64_t tokens = keys.dim() == 4 ? keys.size(2) : 0;
  const Shape expected = {keys_.size(0), keys_.size(1), tokens, keys_.size(3)};
  check(keys.shape() == expected && values.shape() == expected, ErrorKind::Shape, "KVCache",
        "got keys ", keys.shape(), " and values ", values.shape(), ", expected [", keys_.size(0),
        ", ", keys_.size(1), ", tokens, ", keys_.size(3), "]");
  check(length_ + tokens <= capacity(), ErrorKind::Shape, "KVCache", tokens,
        " tokens do not fit: it holds ", length_, " of at most ", capacity());
  check(!needs_grad({keys, values}), ErrorKind::Argument, "KVCache",
        "keys or values require grad, which the cache would drop; hold a NoGradGuard");
  const NoGradGuard no_grad;
  keys_.narrow(2, length_, tokens).copy_(keys.detach());
  values_.narrow(2, length_, tokens).copy_(values.detach());
  length_ += tokens;
  return view();
}

KVCache::View KVCache::view() const {
  const NoGradGuard no_grad;
  return {keys_.narrow(2, 0, length_), values_.narrow(2, 0, length_)};
}

void KVCache::truncate(int64_t length) {
  check(length >= 0 && length <= length_, ErrorKind::Argument, "KVCache", "cannot truncate to ",
        length, " tokens: it holds ", length_);
  length_ = length;
}

}  // namespace plinth::nn
