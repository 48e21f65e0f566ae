#include "nn/optim/adafactor.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"

namespace plinth::nn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double root_mean_square(const Tensor& x) {
  return x.numel() == 0 ? 0 : norm(x).item() / std::sqrt(static_cast<double>(x.numel()));
}

// Of what is computed in.
double epsilon(DType dtype) {
  return dtype == DType::Float64 ? std::numeric_limits<double>::epsilon()
                                 : static_cast<double>(std::numeric_limits<float>::epsilon());
}
double smallest_normal(DType dtype) {
  return dtype == DType::Float64 ? std::numeric_limits<double>::min()
                                 : static_cast<double>(std::numeric_limits<float>::min());
}

// state += weight (value - state)
void move_towards(Tensor state, const Tensor& value, double weight) {
  state.add_(value - state, weight);
}

}  // namespace

Adafactor::Adafactor(const std::vector<ParameterGroup>& groups, const AdafactorOptions& options)
    : Optimizer("Adafactor", groups, options.lr, options.weight_decay, options.narrow, 0),
      options_(options) {
  check(options.narrow != NarrowUpdate::Stochastic, ErrorKind::Argument, "Adafactor",
        "stochastic rounding is not among its updates; take Master or Nearest");
  check_option("beta2_decay", -options.beta2_decay, 0, kInfinity);
  check_option("eps1", options.eps1, 0, kInfinity);
  check_option("eps2", options.eps2, 0, kInfinity);
  check_option("clip", options.clip, std::numeric_limits<double>::min(), kInfinity);
}

std::vector<Optimizer::State> Adafactor::states_of(const Slot& slot) const {
  const Shape& shape = slot.parameter.shape();
  if (shape.dim() < 2) return {{"variance", shape}};
  Shape rows = shape, columns = shape;
  rows[shape.dim() - 1] = 1;
  columns[shape.dim() - 2] = 1;
  return {{"row_var", rows}, {"col_var", columns}};
}

void Adafactor::update(const Bucket& bucket, double grad_scale, const DeviceInputs&) {
  for (Slot* slot : bucket.slots) update_one(*slot, bucket, grad_scale);
}

void Adafactor::update_one(Slot& slot, const Bucket& bucket, double grad_scale) const {
  const DType dtype = compute_dtype(bucket.parameter_dtype);
  // Were a floor 0 in what is computed in, gradients of 0 would make a step of NaN.
  const double least = smallest_normal(dtype);
  const double eps1 = std::max(options_.eps1 > 0 ? options_.eps1 : epsilon(dtype), least);
  const double t = static_cast<double>(bucket.step), w = std::pow(t, options_.beta2_decay);
  Tensor gradient = slot.parameter.grad().to(dtype);
  if (grad_scale != 1) gradient = gradient * grad_scale;
  Tensor value = slot.master.defined() ? slot.master : slot.parameter.detach().to(dtype);

  const double rate =
      std::max(options_.eps2, root_mean_square(value)) * std::min(bucket.lr, 1 / std::sqrt(t));
  if (bucket.weight_decay != 0) value.mul_(1 - bucket.lr * bucket.weight_decay);

  const Tensor squared = square(gradient);
  Tensor variance;
  if (gradient.dim() < 2) {
    move_towards(slot.state[0], squared, w);
    variance = slot.state[0];
  } else {
    move_towards(slot.state[0], mean(squared, {-1}, true), w);
    move_towards(slot.state[1], mean(squared, {-2}, true), w);
    const Tensor row_mean = mean(slot.state[0], {-2}, true);
    // The rows first: a product of two squares leaves the range of what is computed in.
    variance = slot.state[0] / clamp(row_mean, eps1, kInfinity) * slot.state[1];
  }
  const Tensor step = gradient * rsqrt(clamp(variance, std::max(eps1 * eps1, least), kInfinity));
  const double denominator = std::max(1.0, root_mean_square(step) / options_.clip);
  value.add_(step, -rate / denominator);
  if (value.storage() != slot.parameter.storage()) {
    slot.parameter.copy_(value);
  }
}

}  // namespace plinth::nn
