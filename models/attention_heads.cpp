#include "models/attention_heads.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/views.h"

namespace plinth {

Tensors split_last(const Tensor& x, const std::vector<int64_t>& sizes) {
  return record_multi("split_last", {x}, x.detach().split(sizes, -1), {},
                      [](const BackwardContext&, const Tensors& gradients) -> Tensors {
                        return {cat(gradients, -1)};
                      });
}

KVCache::KVCache(int64_t batch, int64_t length, int64_t kv_heads, int64_t head_dim,
                 TensorOptions options)
    : keys_(Tensor::empty({batch, length, kv_heads, head_dim}, options)),
      values_(Tensor::empty({batch, length, kv_heads, head_dim}, options)) {}

void KVCache::append(const Tensor& k, const Tensor& v) {
  const int64_t time = k.size(1);
  check(used_ + time <= keys_.size(1), ErrorKind::Shape, "KVCache", "got ", time,
        " positions after ", used_, ", has room for ", keys_.size(1));
  keys_.narrow(1, used_, time).copy_(k);
  values_.narrow(1, used_, time).copy_(v);
  used_ += time;
}

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, KVCache* cache, double dropout) {
  if (cache) cache->append(k, v);
  const Tensor& keys = cache ? cache->keys() : k;
  const Tensor& values = cache ? cache->values() : v;
  AttentionOptions options;
  options.causal = true;
  options.dropout = dropout;
  const Tensor mixed =
      attention(q.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), options);
  return mixed.transpose(1, 2).flatten(2);
}

}  // namespace plinth
