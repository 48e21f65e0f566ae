#include "core/gradcheck.h"

#include <cmath>

#include "core/autograd.h"
#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/stream.h"

namespace plinth {
namespace {

// Irregular weights in (0.5, 1.5), the same for the same shape and number.
Tensor weights(const Tensor& output, uint32_t number) {
  return uniform(output.shape(), 0.5, 1.5, {.seed = 2026, .op = number}, output.options());
}

bool differentiable(const Tensor& tensor) {
  return tensor.defined() && is_floating_point(tensor.dtype());
}

// The scalar that is differentiated: every output, weighted and added.
Tensor weighted_sum(const Tensors& outputs) {
  Tensor total;
  for (uint32_t i = 0; i < outputs.size(); ++i) {
    if (!differentiable(outputs[i])) continue;
    const Tensor part = sum(outputs[i] * weights(outputs[i], i)).to(DType::Float64);
    total = total.defined() ? total + part : part;
  }
  return total.defined() ? total : scalar(0, {DType::Float64, {}});
}

// Writes one element past autograd and its version counters.
void write(const Tensor& x, int64_t element, double value) {
  double* const to = x.data<double>() + element;
  if (x.device().is_cpu()) {
    *to = value;
  } else {
    cuda::copy(to, &value, sizeof(value), current_stream(x.device()));
  }
}

double central_difference(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs,
                          const Tensor& input, int64_t element, double at, double step) {
  write(input, element, at + step);
  const double above = weighted_sum(f(inputs)).item();
  write(input, element, at - step);
  const double below = weighted_sum(f(inputs)).item();
  write(input, element, at);
  return (above - below) / (2 * step);
}

}  // namespace

std::string gradcheck(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs,
                      GradcheckOptions options) {
  Tensors wanted;
  std::vector<size_t> numbers;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined() || !inputs[i].requires_grad()) continue;
    check(inputs[i].dtype() == DType::Float64 && inputs[i].is_contiguous(), ErrorKind::Argument,
          "gradcheck", "input ", i, " is ", name(inputs[i].dtype()),
          ", expected contiguous float64");
    wanted.push_back(inputs[i]);
    numbers.push_back(i);
  }
  check(!wanted.empty(), ErrorKind::Argument, "gradcheck", "no input requires grad");
  const Tensor total = weighted_sum(f(inputs));
  if (!total.requires_grad()) return "no output depends on an input that requires grad";
  const Tensors analytic = grad({total}, wanted, {}, {.allow_unused = true});
  for (size_t k = 0; k < wanted.size(); ++k) {
    const std::vector<double> expected =
        analytic[k].defined() ? to_vector(analytic[k]) : std::vector<double>(wanted[k].numel());
    const std::vector<double> at = to_vector(wanted[k]);
    for (int64_t i = 0; i < wanted[k].numel(); ++i) {
      const double numeric = central_difference(f, inputs, wanted[k], i, at[i], options.step);
      if (!(std::fabs(numeric - expected[i]) <=
            options.absolute + options.relative * std::fabs(expected[i]))) {
        return detail::concat("gradient of input ", numbers[k], ", element ", i,
                              ": finite differences give ", numeric, ", backward gives ",
                              expected[i]);
      }
    }
  }
  return "";
}

std::string gradgradcheck(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs,
                          GradcheckOptions options) {
  // The gradients of the outputs are inputs too: even a linear op's gradient depends on them.
  Tensors all = inputs;
  for (const Tensor& output : f(inputs)) {
    if (!differentiable(output) || !output.requires_grad()) continue;
    const auto number = static_cast<uint32_t>(all.size());
    all.push_back(weights(output, number).to(DType::Float64).set_requires_grad());
  }
  const size_t count = inputs.size();
  const auto first_gradients = [&f, count](const Tensors& at) {
    const GradModeGuard record(true);
    const Tensors arguments(at.begin(), at.begin() + count);
    const Tensors output_gradients(at.begin() + count, at.end());
    Tensors wanted, outputs;
    for (const Tensor& input : arguments) {
      if (input.defined() && input.requires_grad()) wanted.push_back(input);
    }
    for (const Tensor& output : f(arguments)) {
      if (differentiable(output) && output.requires_grad()) outputs.push_back(output);
    }
    return grad(outputs, wanted, output_gradients, {.create_graph = true, .allow_unused = true});
  };
  return gradcheck(first_gradients, all, options);
}

}  // namespace plinth
