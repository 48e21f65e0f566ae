#include "nn/layers/kv_cache.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/index.h"
#include "core/ops/on_device.h"
#include "kernels/kv_cache/kv_cache.h"
#include "kernels/kv_cache/kv_cache_cuda.h"

namespace plinth::nn {

using kernels::cpu::KVCacheDesc;

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
  write(operand(keys), operand(values), tokens);
  length_ += tokens;
  return view();
}

// x in the cache's dtype, with the elements of a head adjacent.
Tensor KVCache::operand(const Tensor& x) const {
  check(x.device() == keys_.device(), ErrorKind::Device, "KVCache", "got keys or values on ",
        x.device(), ", expected ", keys_.device(), " (that of the cache)");
  const Tensor converted = x.detach().to(keys_.dtype());
  return converted.strides()[3] == 1 ? converted : converted.contiguous();
}

void KVCache::write(const Tensor& keys, const Tensor& values, int64_t tokens) {
  const auto strides = [](const Tensor& x) -> KVCacheDesc::Strides {
    return {.batch = x.strides()[0], .head = x.strides()[1], .token = x.strides()[2]};
  };
  const KVCacheDesc desc{.batch = keys_.size(0),
                         .heads = keys_.size(1),
                         .capacity = capacity(),
                         .tokens = tokens,
                         .head_dim = keys_.size(3),
                         .position = length_,
                         .keys = strides(keys),
                         .values = strides(values)};
  PLINTH_RUN(keys_, kv_cache_append, desc, size_of(keys_.dtype()), keys.raw_data(),
             values.raw_data(), keys_.raw_data(), values_.raw_data());
  keys_.storage()->bump_version();
  values_.storage()->bump_version();
}

KVCache::View KVCache::view() const {
  const NoGradGuard no_grad;
  return {keys_.narrow(2, 0, length_), values_.narrow(2, 0, length_)};
}

void KVCache::select(const Tensor& rows) {
  const NoGradGuard no_grad;
  keys_ = index_select(keys_, 0, rows);
  values_ = index_select(values_, 0, rows);
}

void KVCache::truncate(int64_t length) {
  check(length >= 0 && length <= length_, ErrorKind::Argument, "KVCache", "cannot truncate to ",
        length, " tokens: it holds ", length_);
  length_ = length;
}

}  // namespace plinth::nn
