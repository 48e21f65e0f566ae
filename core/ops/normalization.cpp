#include "core/ops/normalization.h"

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/layer_norm/layer_norm_cuda.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rms_norm/rms_norm_cuda.h"

namespace plinth {
namespace {

void check_inputs(std::string_view op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  double eps) {
  check_floating(x, op, "x");
  check(x.dim() >= 1, ErrorKind::Shape, op, "x has shape [], expected at least one dimension");
  check(eps >= 0, ErrorKind::Argument, op, "eps is ", eps, ", expected at least 0");
  for (const auto& [vector, argument] : {std::pair(weight, "weight"), std::pair(bias, "bias")}) {
    if (!vector.defined()) continue;
    check_shape(vector, {x.size(-1)}, op, argument, "last dimension of x");
    check_like(vector, x, op, argument, "x");
  }
}

void check_residual(std::string_view op, const Tensor& x, const Tensor& residual) {
  check_shape(residual, x.shape(), op, "residual", "that of x");
  check_like(residual, x, op, "residual", "x");
}

// Room for one number a row, in the dtype that kernels compute in.
Tensor row_statistic(const Tensor& x, int64_t rows) {
  return Tensor::empty({rows}, {compute_dtype(x.dtype()), x.device()});
}

Tensor room_if(bool wanted, const Tensor& like) {
  return wanted ? Tensor::empty(like.shape(), like.options()) : Tensor();
}

Tensors without_second_derivative(std::string_view op, const Tensors& inputs, Tensors gradients) {
  for (Tensor& gradient : gradients) {
    if (gradient.defined()) gradient = record_undifferentiable(op, inputs, gradient);
  }
  return gradients;
}

// What the norms save for backward, in this order; layer norm has a mean as well.
enum Saved : size_t { kX, kWeight, kRstd, kMean };

// dx (which includes dsum, if defined), dweight and dbias.
Tensors layer_norm_gradients(const BackwardContext& c, const Tensor& dy, const Tensor& dsum,
                             bool needs_dx, bool needs_dweight, bool needs_dbias) {
  const Tensor x = plain(c.saved(kX)), weight = plain(c.saved(kWeight));
  const Tensor g = plain(dy), extra = plain(dsum);
  const auto [rows, cols] = rows_of(x, "layer_norm_backward");
  const Tensor dx = room_if(needs_dx, x);
  const Tensor vector = Tensor::empty({cols}, x.options());
  const Tensor dweight = room_if(needs_dweight, vector), dbias = room_if(needs_dbias, vector);
  dispatch_floating(x.dtype(), "layer_norm_backward", [&, rows = rows, cols = cols]<class T>() {
    PLINTH_RUN_WITH(x, layer_norm_backward_workspace<T>(rows, cols), add_layer_norm_backward, rows,
                    cols, g.data<T>(), data_or_null<T>(extra), x.data<T>(), data_or_null<T>(weight),
                    c.saved(kMean).data<compute_t<T>>(), c.saved(kRstd).data<compute_t<T>>(),
                    data_or_null<T>(dx), data_or_null<T>(dweight), data_or_null<T>(dbias));
  });
  return without_second_derivative("layer_norm_backward", {dy, dsum, c.saved(kX), c.saved(kWeight)},
                                   {dx, dweight, dbias});
}

Tensors rms_norm_gradients(const BackwardContext& c, const Tensor& dy, const Tensor& dsum,
                           bool needs_dx, bool needs_dweight) {
  const Tensor x = plain(c.saved(kX)), weight = plain(c.saved(kWeight));
  const Tensor g = plain(dy), extra = plain(dsum);
  const auto [rows, cols] = rows_of(x, "rms_norm_backward");
  const Tensor dx = room_if(needs_dx, x);
  const Tensor dweight = room_if(needs_dweight, Tensor::empty({cols}, x.options()));
  dispatch_floating(x.dtype(), "rms_norm_backward", [&, rows = rows, cols = cols]<class T>() {
    PLINTH_RUN_WITH(x, rms_norm_backward_workspace<T>(rows, cols), add_rms_norm_backward, rows,
                    cols, g.data<T>(), data_or_null<T>(extra), x.data<T>(), data_or_null<T>(weight),
                    c.saved(kRstd).data<compute_t<T>>(), data_or_null<T>(dx),
                    data_or_null<T>(dweight));
  });
  return without_second_derivative("rms_norm_backward", {dy, dsum, c.saved(kX), c.saved(kWeight)},
                                   {dx, dweight});
}

}  // namespace

Tensor layer_norm(const Tensor& input, const Tensor& scale, const Tensor& shift, double eps) {
  const OpScope scope(__func__);
  const Tensor x = autocast_float32(input), weight = autocast_float32(scale),
               bias = autocast_float32(shift);
  check_inputs("layer_norm", x, weight, bias, eps);
  const auto [rows, cols] = rows_of(x, "layer_norm");
  const Tensor from = plain(x), w = plain(weight), b = plain(bias);
  const Tensor y = Tensor::empty(x.shape(), x.options());
  const bool saves = needs_grad({x, weight, bias});
  const Tensor mean = saves ? row_statistic(x, rows) : Tensor(),
               rstd = saves ? row_statistic(x, rows) : Tensor();
  dispatch_floating(x.dtype(), "layer_norm", [&, rows = rows, cols = cols]<class T>() {
    PLINTH_RUN(from, layer_norm_forward, rows, cols, from.data<T>(), data_or_null<T>(w),
               data_or_null<T>(b), static_cast<compute_t<T>>(eps), y.data<T>(),
               data_or_null<compute_t<T>>(mean), data_or_null<compute_t<T>>(rstd));
  });
  return record("layer_norm", {x, weight, bias}, y, {x, weight, rstd, mean},
                [](const BackwardContext& c, const Tensor& dy) {
                  return layer_norm_gradients(c, dy, {}, c.needs(0), c.needs(1), c.needs(2));
                });
}

Tensor rms_norm(const Tensor& input, const Tensor& scale, double eps) {
  const OpScope scope(__func__);
  const Tensor x = autocast_float32(input), weight = autocast_float32(scale);
  check_inputs("rms_norm", x, weight, {}, eps);
  const auto [rows, cols] = rows_of(x, "rms_norm");
  const Tensor from = plain(x), w = plain(weight);
  const Tensor y = Tensor::empty(x.shape(), x.options());
  const Tensor rstd = needs_grad({x, weight}) ? row_statistic(x, rows) : Tensor();
  dispatch_floating(x.dtype(), "rms_norm", [&, rows = rows, cols = cols]<class T>() {
    PLINTH_RUN(from, rms_norm_forward, rows, cols, from.data<T>(), data_or_null<T>(w),
               static_cast<compute_t<T>>(eps), y.data<T>(), data_or_null<compute_t<T>>(rstd));
  });
  return record("rms_norm", {x, weight}, y, {x, weight, rstd},
                [](const BackwardContext& c, const Tensor& dy) {
                  return rms_norm_gradients(c, dy, {}, c.needs(0), c.needs(1));
                });
}

AddNorm add_layer_norm(const Tensor& input, const Tensor& stream, const Tensor& scale,
                       const Tensor& shift, double eps) {
  const OpScope scope(__func__);
  const Tensor x = autocast_float32(input), residual = autocast_float32(stream),
               weight = autocast_float32(scale), bias = autocast_float32(shift);
  check_inputs("add_layer_norm", x, weight, bias, eps);
  check_residual("add_layer_norm", x, residual);
  const auto [rows, cols] = rows_of(x, "add_layer_norm");
  const Tensor from = plain(x), added = plain(residual), w = plain(weight), b = plain(bias);
  const Tensor sum = Tensor::empty(x.shape(), x.options());
  const Tensor normed = Tensor::empty(x.shape(), x.options());
  const bool saves = needs_grad({x, residual, weight, bias});
  const Tensor mean = saves ? row_statistic(x, rows) : Tensor(),
               rstd = saves ? row_statistic(x, rows) : Tensor();
  dispatch_floating(x.dtype(), "add_layer_norm", [&, rows = rows, cols = cols]<class T>() {
    PLINTH_RUN(from, add_layer_norm_forward, rows, cols, from.data<T>(), added.data<T>(),
               data_or_null<T>(w), data_or_null<T>(b), static_cast<compute_t<T>>(eps),
               sum.data<T>(), normed.data<T>(), data_or_null<compute_t<T>>(mean),
               data_or_null<compute_t<T>>(rstd));
  });
  const Tensors outputs = record_multi(
      "add_layer_norm", {x, residual, weight, bias}, {sum, normed}, {sum, weight, rstd, mean},
      [](const BackwardContext& c, const Tensors& grads) -> Tensors {
        const Tensors gradients = layer_norm_gradients(
            c, grads[1], grads[0], c.needs(0) || c.needs(1), c.needs(2), c.needs(3));
        return {gradients[0], gradients[0], gradients[1], gradients[2]};
      });
  return {outputs[0], outputs[1]};
}

AddNorm add_rms_norm(const Tensor& input, const Tensor& stream, const Tensor& scale, double eps) {
  const OpScope scope(__func__);
  const Tensor x = autocast_float32(input), residual = autocast_float32(stream),
               weight = autocast_float32(scale);
  check_inputs("add_rms_norm", x, weight, {}, eps);
  check_residual("add_rms_norm", x, residual);
  const auto [rows, cols] = rows_of(x, "add_rms_norm");
  const Tensor from = plain(x), added = plain(residual), w = plain(weight);
  const Tensor sum = Tensor::empty(x.shape(), x.options());
  const Tensor normed = Tensor::empty(x.shape(), x.options());
  const Tensor rstd = needs_grad({x, residual, weight}) ? row_statistic(x, rows) : Tensor();
  dispatch_floating(x.dtype(), "add_rms_norm", [&, rows = rows, cols = cols]<class T>() {
    PLINTH_RUN(from, add_rms_norm_forward, rows, cols, from.data<T>(), added.data<T>(),
               data_or_null<T>(w), static_cast<compute_t<T>>(eps), sum.data<T>(), normed.data<T>(),
               data_or_null<compute_t<T>>(rstd));
  });
  const Tensors outputs =
      record_multi("add_rms_norm", {x, residual, weight}, {sum, normed}, {sum, weight, rstd},
                   [](const BackwardContext& c, const Tensors& grads) -> Tensors {
                     const Tensors gradients = rms_norm_gradients(
                         c, grads[1], grads[0], c.needs(0) || c.needs(1), c.needs(2));
                     return {gradients[0], gradients[0], gradients[1]};
                   });
  return {outputs[0], outputs[1]};
}

}  // namespace plinth
