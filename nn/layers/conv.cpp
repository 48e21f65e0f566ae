#include "nn/layers/conv.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace plinth::nn {
namespace {

void check_sizes(std::string_view layer, int64_t in, int64_t out, const Shape& kernel,
                 int64_t groups) {
  check(in > 0 && out > 0, ErrorKind::Argument, layer, "in is ", in, " and out ", out,
        ", expected at least 1");
  check(std::ranges::all_of(kernel, [](int64_t size) { return size > 0; }), ErrorKind::Argument,
        layer, "kernel is ", kernel, ", expected at least 1");
  check(groups > 0 && in % groups == 0 && out % groups == 0, ErrorKind::Argument, layer,
        "groups is ", groups, ", expected a divisor of in (", in, ") and of out (", out, ")");
}

Shape weight_shape(int64_t in, int64_t out, const Shape& kernel, int64_t groups) {
  Shape shape{out, in / groups};
  for (const int64_t size : kernel) shape.push_back(size);
  return shape;
}

Initializer or_default(const Initializer& initializer, const Shape& weight) {
  const int64_t fan_in = weight.numel() / weight[0];
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return initializer ? initializer : init::uniform(-bound, bound);
}

}  // namespace

Conv1d::Conv1d(int64_t in, int64_t out, int64_t kernel, const Conv1dOptions& conv,
               const ConvParameters& parameters)
    : conv_(conv) {
  check_sizes("Conv1d", in, out, {kernel}, conv.groups);
  const Shape shape = weight_shape(in, out, {kernel}, conv.groups);
  weight_ = register_parameter("weight", shape, or_default(parameters.weight_init, shape),
                               parameters.options);
  if (parameters.bias) {
    bias_ = register_parameter("bias", {out}, or_default(parameters.bias_init, shape),
                               parameters.options);
  }
}

Tensor Conv1d::forward(const Tensor& x) {
  return conv1d(x, weight_, bias_, conv_);
}

Conv2d::Conv2d(int64_t in, int64_t out, Size2d kernel, const Conv2dOptions& conv,
               const ConvParameters& parameters)
    : conv_(conv) {
  check_sizes("Conv2d", in, out, {kernel.height, kernel.width}, conv.groups);
  const Shape shape = weight_shape(in, out, {kernel.height, kernel.width}, conv.groups);
  weight_ = register_parameter("weight", shape, or_default(parameters.weight_init, shape),
                               parameters.options);
  if (parameters.bias) {
    bias_ = register_parameter("bias", {out}, or_default(parameters.bias_init, shape),
                               parameters.options);
  }
}

Tensor Conv2d::forward(const Tensor& x) {
  return conv2d(x, weight_, bias_, conv_);
}

}  // namespace plinth::nn
