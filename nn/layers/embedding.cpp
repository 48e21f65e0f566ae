#include "nn/layers/embedding.h"

#include "core/error.h"
#include "core/ops/index.h"
#include "core/ops/matmul.h"
#include "core/ops/views.h"

namespace plinth::nn {

Embedding::Embedding(int64_t count, int64_t dim, Initializer initializer, TensorOptions options) {
  check(count > 0 && dim > 0, ErrorKind::Argument, "Embedding", "count is ", count, " and dim ",
        dim, ", expected at least 1");
  weight_ = register_parameter("weight", {count, dim}, std::move(initializer), options);
}

Tensor Embedding::forward(const Tensor& ids) {
  const Tensor table = mapped(share_.weight, weight_);
  return mapped(share_.out, share_.count > 0
                                ? embedding_part(table, ids, share_.first, share_.count)
                                : embedding(table, ids));
}

Tensor Embedding::rows(const std::vector<TokenRun>& runs, int64_t before) const {
  const Tensor table = mapped(share_.weight, weight_);
  Tensors pieces;
  pieces.reserve(runs.size());
  for (const TokenRun& run : runs) pieces.push_back(table.narrow(0, before + run.begin, run.count));
  return pieces.size() == 1 ? pieces[0] : cat(pieces, 0);
}

Tensor Embedding::logits(const Tensor& x) const {
  return trace([&] { return linear(x, weight_); });
}

}  // namespace plinth::nn
