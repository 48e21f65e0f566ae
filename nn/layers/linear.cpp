#include "nn/layers/linear.h"

#include <cmath>

#include "core/error.h"
#include "core/ops/matmul.h"

namespace plinth::nn {

Linear::Linear(int64_t in, int64_t out, const LinearOptions& options) {
  check(in > 0 && out > 0, ErrorKind::Argument, "Linear", "in is ", in, " and out ", out,
        ", expected at least 1");
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  const auto or_default = [&](const Initializer& initializer) {
    return initializer ? initializer : init::uniform(-bound, bound);
  };
  weight_ =
      register_parameter("weight", {out, in}, or_default(options.weight_init), options.options);
  if (options.bias) {
    bias_ = register_parameter("bias", {out}, or_default(options.bias_init), options.options);
  }
}

Linear::Linear(const Tensor& weight, const Tensor& bias) {
  check(weight.dim() == 2, ErrorKind::Shape, "Linear", "weight has shape ", weight.shape(),
        ", expected [out, in]");
  weight_ = register_parameter("weight", weight);
  if (bias.defined()) bias_ = register_parameter("bias", bias);
}

Tensor Linear::forward(const Tensor& x) {
  return linear(x, weight_, bias_);
}

Tensor Linear::product(const Tensor& x) const {
  return trace([&] { return linear(x, weight_); });
}

}  // namespace plinth::nn
