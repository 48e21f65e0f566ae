#include "nn/layers/linear.h"

#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
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
  return run(x, bias_);
}

Tensor Linear::product(const Tensor& x) const {
  return trace([&] { return run(x, {}); });
}

bool Linear::fits_float8() const {
  return weight_.size(0) % 16 == 0 && weight_.size(1) % 16 == 0;
}

void Linear::use_float8(const Float8Options& options) {
  check(fits_float8(), ErrorKind::Shape, "Linear", "weight has shape ", weight_.shape(),
        ", expected multiples of 16 for float8");
  check(options.history >= 1 && options.history <= 1024, ErrorKind::Argument, "Linear",
        "history is ", options.history, ", expected 1 to 1024");
  float8_.emplace();
  float8_->margin = options.margin;
  if (options.recipe == Float8Recipe::Current) return;
  const auto history = [&](std::string name) {
    return register_buffer(std::move(name),
                           zeros({options.history}, {DType::Float32, weight_.device()}));
  };
  float8_->x_history = history("x_history");
  float8_->weight_history = history("weight_history");
  float8_->gradient_history = history("gradient_history");
}

Tensor Linear::multiply(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
  return float8_ ? linear_float8(x, weight, bias, *float8_) : linear(x, weight, bias);
}

LinearLora Linear::new_lora(const LoraOptions& options) const {
  check(options.rank >= 1, ErrorKind::Argument, "Linear", "rank of LoRA got ", options.rank,
        ", takes 1 or more");
  check(std::isfinite(options.alpha), ErrorKind::Argument, "Linear", "alpha of LoRA got ",
        options.alpha, ", takes a finite number");
  check(!float8_ && !share_ && !has_lora(), ErrorKind::Argument, "Linear", "LoRA does not go with ",
        float8_  ? "float8"
        : share_ ? "layers that ranks share"
                 : "LoRA");
  const int64_t out = weight_.size(0), in = weight_.size(1);
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  const TensorOptions like{weight_.dtype(), weight_.device()};
  NewParameter a = new_parameter({options.rank, in}, init::uniform(-bound, bound), like);
  NewParameter b = new_parameter({out, options.rank}, init::zeros(), like);
  return {.a = std::move(a),
          .b = std::move(b),
          .scale = options.alpha / static_cast<double>(options.rank),
          .dropout = std::make_shared<Dropout>(options.dropout)};
}

void Linear::take(LinearLora lora) {
  weight_.set_requires_grad(false);
  if (bias_.defined()) bias_.set_requires_grad(false);
  lora_a_ = register_parameter("lora_a", std::move(lora.a));
  lora_b_ = register_parameter("lora_b", std::move(lora.b));
  lora_scale_ = lora.scale;
  lora_dropout_ = register_module("lora_dropout", std::move(lora.dropout));
  lora_dropout_->train(is_training());
}

Tensor Linear::merged_weight() const {
  const NoGradGuard no_grad;
  return weight_ + matmul(lora_b_, lora_a_) * lora_scale_;
}

void Linear::merge_lora() {
  const NoGradGuard no_grad;
  weight_.copy_(merged_weight());
  lora_b_.fill_(0);
}

Tensor Linear::run(const Tensor& x, const Tensor& bias) const {
  const Tensor y = run_base(x, bias);
  if (!has_lora()) return y;
  return y + linear(linear(lora_dropout_(x), lora_a_, {}), lora_b_, {}) * lora_scale_;
}

Tensor Linear::run_base(const Tensor& x, const Tensor& bias) const {
  if (!share_) return multiply(x, weight_, bias);
  const Tensor weight = mapped(share_->weight, weight_), added = mapped(share_->bias, bias);
  const Tensor in = mapped(share_->in, x);
  if (!share_->out) return multiply(in, weight, added);
  const Tensor y = share_->out(multiply(in, weight, {}));
  return added.defined() ? y + added.to(y.dtype()) : y;
}

}  // namespace plinth::nn
