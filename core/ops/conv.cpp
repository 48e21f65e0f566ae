#include "core/ops/conv.h"

#include <atomic>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/flop_counter.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/ops/reduce.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/conv_cuda.h"

namespace plinth {
namespace {

using kernels::cpu::ConvDesc;
#ifdef PLINTH_CUDA_BACKEND
using kernels::cuda::ConvPass;
#endif

std::atomic<bool> tf32_in_conv = false;

// ---- checks ----

void check_operands(const Tensor& x, const Tensor& weight, const Tensor& bias,
                    std::string_view op) {
  check_floating(x, op, "x");
  check_like(weight, x, op, "weight", "x");
  if (!bias.defined()) return;
  check_like(bias, x, op, "bias", "x");
  check_shape(bias, {weight.size(0)}, op, "bias", "weight's first dimension");
}

void check_dims(const Tensor& x, const Tensor& weight, int64_t dims, std::string_view sizes,
                std::string_view op) {
  check(x.defined() && weight.defined(), ErrorKind::Argument, op, x.defined() ? "weight" : "x",
        " is undefined");
  check(x.dim() == dims, ErrorKind::Shape, op, "x has shape ", x.shape(), ", expected [N, C, ",
        sizes, "]");
  check(weight.dim() == dims, ErrorKind::Shape, op, "weight has shape ", weight.shape(),
        ", expected [out, C / groups, a kernel of ", sizes, "]");
}

void check_channels(const Tensor& x, const Tensor& weight, int64_t groups, std::string_view op) {
  check(groups >= 1, ErrorKind::Argument, op, "groups is ", groups, ", expected at least 1");
  check(x.size(1) % groups == 0 && x.size(1) / groups == weight.size(1), ErrorKind::Shape, op,
        "x has shape ", x.shape(), ", expected ", weight.size(1) * groups, " channels (weight is ",
        weight.shape(), ", groups ", groups, ")");
  check(weight.size(0) % groups == 0, ErrorKind::Shape, op, "weight has shape ", weight.shape(),
        ", expected a multiple of ", groups, " output channels (groups)");
}

// Along one dimension: 0 is the height, 1 the width or length.
void check_window(const Tensor& x, const Tensor& weight, const ConvDesc& d, int at,
                  std::string_view op) {
  const int64_t stride = d.stride[at], padding = d.padding[at], dilation = d.dilation[at];
  check(stride >= 1, ErrorKind::Argument, op, "stride is ", stride, ", expected at least 1");
  check(padding >= 0, ErrorKind::Argument, op, "padding is ", padding, ", expected at least 0");
  check(dilation >= 1, ErrorKind::Argument, op, "dilation is ", dilation, ", expected at least 1");
  check(d.kernel[at] >= 1, ErrorKind::Shape, op, "weight has shape ", weight.shape(),
        ", expected a kernel of at least 1");
  const int64_t span = dilation * (d.kernel[at] - 1) + 1;
  check(d.output(at) >= 1, ErrorKind::Shape, op, "x has shape ", x.shape(), " and a padding of ",
        padding, ", expected at least the ", span, " elements that the kernel spans (weight is ",
        weight.shape(), ", dilation ", dilation, ")");
}

// ---- the three convolutions, each linear in both operands ----

Shape input_shape(const ConvDesc& d) {
  return {d.batch, d.in_channels, d.input[0], d.input[1]};
}
Shape weight_shape(const ConvDesc& d) {
  return {d.out_channels, d.group_inputs(), d.kernel[0], d.kernel[1]};
}
Shape output_shape(const ConvDesc& d) {
  return {d.batch, d.out_channels, d.output(0), d.output(1)};
}

void count_operations(const ConvDesc& d) {
  FlopCounter::add(2 * d.batch * d.positions() * d.out_channels * d.depth());
}

Tensor forward(const ConvDesc& d, const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor input_gradient(const ConvDesc& d, const Tensor& dy, const Tensor& weight);
Tensor weight_gradient(const ConvDesc& d, const Tensor& dy, const Tensor& x);

// `first` and `second` as backward() will want them: each for the gradient of the other.
Tensors saved_operands(const Tensor& first, const Tensor& second) {
  return {needs_grad({second}) ? first : Tensor(), needs_grad({first}) ? second : Tensor()};
}

Tensor input_gradient(const ConvDesc& d, const Tensor& dy, const Tensor& weight) {
  const Tensor out = Tensor::empty(input_shape(d), dy.options());
  const Tensor from = plain(dy), w = plain(weight);
  count_operations(d);
  dispatch_floating(dy.dtype(), "conv_backward_input", [&]<class T>() {
    PLINTH_RUN_WITH(dy, conv_workspace<T>(d, ConvPass::BackwardInput), conv_backward_input, d,
                    from.data<T>(), w.data<T>(), out.data<T>());
  });
  return record("conv_backward_input", {dy, weight}, out, saved_operands(dy, weight),
                [d](const BackwardContext& c, const Tensor& ddx) -> Tensors {
                  return {c.needs(0) ? forward(d, ddx, c.saved(1), {}) : Tensor(),
                          c.needs(1) ? weight_gradient(d, c.saved(0), ddx) : Tensor()};
                });
}

Tensor weight_gradient(const ConvDesc& d, const Tensor& dy, const Tensor& x) {
  const Tensor out = Tensor::empty(weight_shape(d), dy.options());
  const Tensor from = plain(dy), input = plain(x);
  count_operations(d);
  dispatch_floating(dy.dtype(), "conv_backward_weight", [&]<class T>() {
    PLINTH_RUN_WITH(dy, conv_workspace<T>(d, ConvPass::BackwardWeight), conv_backward_weight, d,
                    from.data<T>(), input.data<T>(), out.data<T>());
  });
  return record("conv_backward_weight", {dy, x}, out, saved_operands(dy, x),
                [d](const BackwardContext& c, const Tensor& ddw) -> Tensors {
                  return {c.needs(0) ? forward(d, c.saved(1), ddw, {}) : Tensor(),
                          c.needs(1) ? input_gradient(d, c.saved(0), ddw) : Tensor()};
                });
}

Tensor forward(const ConvDesc& d, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor y = Tensor::empty(output_shape(d), x.options());
  const Tensor input = plain(x), w = plain(weight), b = plain(bias);
  count_operations(d);
  dispatch_floating(x.dtype(), "conv", [&]<class T>() {
    const T* added = data_or_null<T>(b);
    PLINTH_RUN_WITH(x, conv_workspace<T>(d, ConvPass::Forward), conv_forward, d, input.data<T>(),
                    w.data<T>(), added, y.data<T>());
  });
  return record("conv", {x, weight, bias}, y, saved_operands(x, weight),
                [d](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {c.needs(0) ? input_gradient(d, dy, c.saved(1)) : Tensor(),
                          c.needs(1) ? weight_gradient(d, dy, c.saved(0)) : Tensor(),
                          c.needs(2) ? sum(dy, {0, 2, 3}) : Tensor()};
                });
}

// What the two public ops have in common, after their own checks of dimensions: x [N, C, H, W].
Tensor convolve(const Tensor& x, const Tensor& weight, const Tensor& bias,
                const Conv2dOptions& options, bool has_height, std::string_view op) {
  ConvDesc d;
  d.batch = x.size(0);
  d.in_channels = x.size(1);
  d.out_channels = weight.size(0);
  d.groups = options.groups;
  d.input = {x.size(2), x.size(3)};
  d.kernel = {weight.size(2), weight.size(3)};
  d.stride = {options.stride.height, options.stride.width};
  d.padding = {options.padding.height, options.padding.width};
  d.dilation = {options.dilation.height, options.dilation.width};
  d.allow_tf32 = conv_tf32_allowed();
  check_channels(x, weight, d.groups, op);
  for (int at = has_height ? 0 : 1; at < 2; ++at) check_window(x, weight, d, at, op);
  return forward(d, x, weight, bias);
}

}  // namespace

void allow_conv_tf32(bool allow) {
  tf32_in_conv = allow;
}
bool conv_tf32_allowed() {
  return tf32_in_conv;
}

Tensor conv1d(const Tensor& input, const Tensor& kernel, const Tensor& added,
              const Conv1dOptions& options) {
  const OpScope scope(__func__);
  check_dims(input, kernel, 3, "length", "conv1d");
  const Tensor x = autocast(input), weight = autocast(kernel), bias = autocast(added);
  check_operands(x, weight, bias, "conv1d");
  const Conv2dOptions as_2d{.stride = {1, options.stride},
                            .padding = {0, options.padding},
                            .dilation = {1, options.dilation},
                            .groups = options.groups};
  return convolve(x.unsqueeze(2), weight.unsqueeze(2), bias, as_2d, false, "conv1d").squeeze(2);
}

Tensor conv2d(const Tensor& input, const Tensor& kernel, const Tensor& added,
              const Conv2dOptions& options) {
  const OpScope scope(__func__);
  check_dims(input, kernel, 4, "height, width", "conv2d");
  const Tensor x = autocast(input), weight = autocast(kernel), bias = autocast(added);
  check_operands(x, weight, bias, "conv2d");
  return convolve(x, weight, bias, options, true, "conv2d");
}

}  // namespace plinth
