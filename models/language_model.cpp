#include "models/language_model.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "nn/flops.h"

namespace plinth {

Tensor LanguageModel::head(const Tensor& x) const {
  return linear(x, head_weight());
}

Tensor LanguageModel::forward(const Tensor& ids, KVCaches* caches) {
  return head(hidden(ids, caches));
}

Tensor LanguageModel::loss(const Tensor& ids, const Tensor& targets) {
  return linear_cross_entropy(hidden(ids), head_weight(), targets);
}

KVCaches LanguageModel::make_caches(int64_t batch, int64_t length) const {
  check(length <= info().context, ErrorKind::Argument, info().type, "a cache of ", length,
        " positions exceeds the context of ", info().context);
  KVCaches caches;
  const TensorOptions options = head_weight().options();
  for (int64_t layer = 0; layer < info().layers; ++layer)
    caches.emplace_back(batch, info().kv_heads, length, info().head_dim, options);
  return caches;
}

double LanguageModel::training_flops_per_token(int64_t time) const {
  const LanguageModelInfo& size = info();
  const nn::TransformerShape shape{.layers = size.layers,
                                   .dim = size.dim,
                                   .heads = size.heads,
                                   .kv_heads = size.kv_heads,
                                   .head_dim = size.head_dim,
                                   .ffn_dim = size.ffn_dim,
                                   .gated = size.gated,
                                   .vocab = size.vocab_size};
  return nn::training_flops_per_token(shape, time, /*skip_masked=*/true);
}

void LanguageModel::check_ids(const Tensor& ids, int64_t cached) const {
  check(ids.dim() == 2, ErrorKind::Shape, info().type, "ids have shape ", ids.shape(),
        ", expected [batch, time]");
  check(cached + ids.size(1) <= info().context, ErrorKind::Shape, info().type, "ids have shape ",
        ids.shape(), cached ? detail::concat(" after ", cached, " cached positions") : "",
        ", the context is ", info().context);
}

Tensor LanguageModel::run_layer(const Tensor& x,
                                const std::function<Tensor(const Tensor&)>& layer) const {
  if (!checkpointing_ || !grad_enabled()) return layer(x);
  return checkpoint([layer](const Tensors& inputs) { return layer(inputs[0]); }, {x});
}

}  // namespace plinth
