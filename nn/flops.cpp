#include "nn/flops.h"

#include "core/error.h"

namespace plinth::nn {
namespace {

int64_t head_dim_of(const TransformerShape& shape) {
  if (shape.head_dim > 0) return shape.head_dim;
  check(shape.heads > 0 && shape.dim % shape.heads == 0, ErrorKind::Argument, "flops", "heads is ",
        shape.heads, ", expected a divisor of dim, ", shape.dim);
  return shape.dim / shape.heads;
}

}  // namespace

int64_t matmul_parameters(const TransformerShape& shape) {
  const int64_t kv_heads = shape.kv_heads > 0 ? shape.kv_heads : shape.heads;
  const int64_t attention = 2 * shape.dim * (shape.heads + kv_heads) * head_dim_of(shape);
  const int64_t mlp = (shape.gated ? 3 : 2) * shape.dim * shape.ffn_dim;
  return shape.layers * (attention + mlp) + shape.dim * shape.vocab;
}

double forward_flops_per_token(const TransformerShape& shape, int64_t context, bool skip_masked) {
  const double keys = static_cast<double>(skip_masked ? context + 1 : 2 * context) / 2;
  const double pairs = static_cast<double>(shape.layers * shape.heads * head_dim_of(shape)) * keys;
  return 2 * static_cast<double>(matmul_parameters(shape)) + 4 * pairs;
}

double training_flops_per_token(const TransformerShape& shape, int64_t context, bool skip_masked) {
  return 3 * forward_flops_per_token(shape, context, skip_masked);
}

double model_flop_utilisation(double flops_per_token, double tokens_per_second, double peak_flops) {
  check(peak_flops > 0, ErrorKind::Argument, "model_flop_utilisation", "peak_flops is ", peak_flops,
        ", expected above 0");
  return flops_per_token * tokens_per_second / peak_flops;
}

}  // namespace plinth::nn
