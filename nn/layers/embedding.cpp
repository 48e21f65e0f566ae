#include "nn/layers/embedding.h"

#include "core/error.h"
#include "core/ops/index.h"
#include "core/ops/matmul.h"

namespace plinth::nn {

Embedding::Embedding(int64_t count, int64_t dim, Initializer initializer, TensorOptions options) {
  check(count > 0 && dim > 0, ErrorKind::Argument, "Embedding", "count is ", count, " and dim ",
        dim, ", expected at least 1");
  weight_ = register_parameter("weight", {count, dim}, std::move(initializer), options);
}

Tensor Embedding::forward(const Tensor& ids) {
  return embedding(weight_, ids);
}

Tensor Embedding::logits(const Tensor& x) const {
  return trace([&] { return linear(x, weight_); });
}

}  // namespace plinth::nn
