#include "core/ops/normalization.h"

#include <string_view>
#include <type_traits>
#include <utility>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/layer_norm/layer_norm_cuda.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rms_norm/rms_norm_cuda.h"

namespace plinth {
namespace {

// x is what is normalised, or the stream, called `argument`.
void check_inputs(std::string_view op, std::string_view argument, const Tensor& x,
                  const Tensor& weight, const Tensor& bias, double eps) {
  check_floating(x, op, argument);
  check(x.dim() >= 1, ErrorKind::Shape, op, argument,
        " has shape [], expected at least one dimension");
  check(eps >= 0, ErrorKind::Argument, op, "eps is ", eps, ", expected at least 0");
  const std::string_view why =
      argument == "x" ? "last dimension of x" : "last dimension of residual";
  for (const auto& [vector, vector_argument] :
       {std::pair(weight, "weight"), std::pair(bias, "bias")}) {
    if (!vector.defined()) continue;
    check_shape(vector, {x.size(-1)}, op, vector_argument, why);
    check_like(vector, x, op, vector_argument, argument);
  }
}

// `out`, or the dtype of x, called `argument`.
DType checked_out(std::string_view op, std::string_view argument, const Tensor& x,
                  std::optional<DType> out) {
  const DType dtype = out.value_or(x.dtype());
  const bool is_wide = x.dtype() == DType::Float32;
  check(dtype == x.dtype() || adds_unconverted(x.dtype(), dtype), ErrorKind::DType, op, "out is ",
        name(dtype), ", takes ", is_wide ? "float32, bfloat16 or float16" : name(x.dtype()),
        " for ", argument, " of ", name(x.dtype()));
  return dtype;
}

// What add_layer_norm and add_rms_norm add. The kernel gives what is normed in the branch's dtype.
struct Sum {
  Tensor branch, stream;
  DType out;  // of what is normed
};

// Takes the branch as it is where it has the narrow dtype of what is normed.
Sum checked_sum(std::string_view op, const Tensor& x, const Tensor& residual, const Tensor& weight,
                const Tensor& bias, double eps, std::optional<DType> out) {
  const Tensor stream = autocast_float32(residual);
  const bool is_narrow = x.defined() && stream.defined() && x.dtype() == out &&
                         adds_unconverted(stream.dtype(), x.dtype());
  const Tensor branch = is_narrow ? x : autocast_float32(x);
  if (is_narrow) {
    check_inputs(op, "residual", stream, weight, bias, eps);
    check_shape(branch, stream.shape(), op, "x", "that of residual");
    check_same_device(op, {&branch, &stream});
  } else {
    check_inputs(op, "x", branch, weight, bias, eps);
    check_shape(stream, branch.shape(), op, "residual", "that of x");
    check_like(stream, branch, op, "residual", "x");
  }
  return {branch, stream, checked_out(op, "residual", stream, out)};
}

// Calls f.operator()<T, N>() for rows of `dtype` and what is normed of `out`.
template <class F>
void dispatch_norm(DType dtype, DType out, std::string_view op, F&& f) {
  dispatch_floating(dtype, op, [&]<class T>() {
    if constexpr (std::is_same_v<T, float>) {
      if (out == DType::BFloat16) return f.template operator()<T, BFloat16>();
      if (out == DType::Float16) return f.template operator()<T, Float16>();
    }
    f.template operator()<T, T>();
  });
}

// Room for one number a row, in the dtype that kernels compute in.
Tensor row_statistic(const Tensor& x, int64_t rows) {
  return Tensor::empty({rows}, {compute_dtype(x.dtype()), x.device()});
}

Tensor room_if(bool wanted, const Tensor& like) {
  return wanted ? Tensor::empty(like.shape(), like.options()) : Tensor();
}

// What the norms save for backward, in this order; layer norm has a mean as well.
enum NormSaved : size_t { kX, kWeight, kRstd, kMean };

// Which gradients are asked for: that of the normalised rows, the same in the dtype of dy, those of
// weight and bias, which are inputs number `weight` and the next.
struct Wanted {
  bool dx = false, dbranch = false, dweight = false, dbias = false;
  size_t weight = 1;
};

// For the inputs of add_layer_norm and add_rms_norm, in their order. Branch and stream share dx
// where they have one dtype.
Wanted wanted_of_sum(const BackwardContext& c, const Tensors& grads, bool has_bias) {
  const bool narrow = grads[1].dtype() != grads[0].dtype();
  return {.dx = c.needs(1) || (!narrow && c.needs(0)),
          .dbranch = narrow && c.needs(0),
          .dweight = c.needs(2),
          .dbias = has_bias && c.needs(3),
          .weight = 2};
}

// Those that are asked for; dx includes dsum, if defined.
struct NormGradients {
  Tensor dx, dbranch, dweight, dbias;

  const Tensor& of_branch() const { return dbranch.defined() ? dbranch : dx; }
};

// Of the weight or the bias of rows x: grad() of a leaf, if that is possible.
Tensor vector_room(const BackwardContext& c, size_t input, const Tensor& x) {
  const GradientPlace place = c.place(input);
  const bool is_there = place.memory.defined() && place.dtype == x.dtype();
  return is_there ? place.memory : Tensor::empty({x.size(-1)}, x.options());
}

NormGradients room_for(const BackwardContext& c, const Wanted& wanted, const Tensor& x,
                       const Tensor& dy) {
  return {room_if(wanted.dx, x), room_if(wanted.dbranch, dy),
          wanted.dweight ? vector_room(c, wanted.weight, x) : Tensor(),
          wanted.dbias ? vector_room(c, wanted.weight + 1, x) : Tensor()};
}

void refuse_second_derivative(std::string_view op, const Tensors& inputs, NormGradients& g) {
  for (Tensor* gradient : {&g.dx, &g.dbranch, &g.dweight, &g.dbias}) {
    if (gradient->defined()) *gradient = record_undifferentiable(op, inputs, *gradient);
  }
}

NormGradients layer_norm_gradients(const BackwardContext& c, const Tensor& dy, const Tensor& dsum,
                                   const Wanted& wanted) {
  const Tensor x = plain(c.saved(kX)), weight = plain(c.saved(kWeight));
  const Tensor g = plain(dy), extra = plain(dsum);
  const auto [rows, cols] = rows_of(x, "layer_norm_backward");
  NormGradients result = room_for(c, wanted, x, g);
  dispatch_norm(x.dtype(), g.dtype(), "layer_norm_backward",
                [&, rows = rows, cols = cols]<class T, class N>() {
                  PLINTH_RUN_WITH(x, layer_norm_backward_workspace<T>(rows, cols),
                                  add_layer_norm_backward, rows, cols, g.data<N>(),
                                  data_or_null<T>(extra), x.data<T>(), data_or_null<T>(weight),
                                  c.saved(kMean).data<compute_t<T>>(),
                                  c.saved(kRstd).data<compute_t<T>>(), data_or_null<T>(result.dx),
                                  data_or_null<N>(result.dbranch), data_or_null<T>(result.dweight),
                                  data_or_null<T>(result.dbias));
                });
  refuse_second_derivative("layer_norm_backward", {dy, dsum, c.saved(kX), c.saved(kWeight)},
                           result);
  return result;
}

NormGradients rms_norm_gradients(const BackwardContext& c, const Tensor& dy, const Tensor& dsum,
                                 const Wanted& wanted) {
  const Tensor x = plain(c.saved(kX)), weight = plain(c.saved(kWeight));
  const Tensor g = plain(dy), extra = plain(dsum);
  const auto [rows, cols] = rows_of(x, "rms_norm_backward");
  NormGradients result = room_for(c, wanted, x, g);
  dispatch_norm(x.dtype(), g.dtype(), "rms_norm_backward",
                [&, rows = rows, cols = cols]<class T, class N>() {
                  PLINTH_RUN_WITH(x, rms_norm_backward_workspace<T>(rows, cols),
                                  add_rms_norm_backward, rows, cols, g.data<N>(),
                                  data_or_null<T>(extra), x.data<T>(), data_or_null<T>(weight),
                                  c.saved(kRstd).data<compute_t<T>>(), data_or_null<T>(result.dx),
                                  data_or_null<N>(result.dbranch), data_or_null<T>(result.dweight));
                });
  refuse_second_derivative("rms_norm_backward", {dy, dsum, c.saved(kX), c.saved(kWeight)}, result);
  return result;
}

// What is normed, in the dtype that was asked for.
AddNorm finished(const Tensors& outputs, DType out) {
  return {outputs[0], outputs[1].dtype() == out ? outputs[1] : outputs[1].to(out)};
}

}  // namespace

Tensor layer_norm(const Tensor& input, const Tensor& scale, const Tensor& shift, double eps,
                  std::optional<DType> out) {
  const OpScope scope(__func__);
  const Tensor x = autocast_float32(input), weight = autocast_float32(scale),
               bias = autocast_float32(shift);
  check_inputs("layer_norm", "x", x, weight, bias, eps);
  const DType dtype = checked_out("layer_norm", "x", x, out);
  const auto [rows, cols] = rows_of(x, "layer_norm");
  const Tensor from = plain(x), w = plain(weight), b = plain(bias);
  const Tensor y = Tensor::empty(x.shape(), {dtype, x.device()});
  const bool saves = needs_grad({x, weight, bias});
  const Tensor mean = saves ? row_statistic(x, rows) : Tensor(),
               rstd = saves ? row_statistic(x, rows) : Tensor();
  dispatch_norm(x.dtype(), dtype, "layer_norm", [&, rows = rows, cols = cols]<class T, class N>() {
    PLINTH_RUN(from, layer_norm_forward, rows, cols, from.data<T>(), data_or_null<T>(w),
               data_or_null<T>(b), static_cast<compute_t<T>>(eps), y.data<N>(),
               data_or_null<compute_t<T>>(mean), data_or_null<compute_t<T>>(rstd));
  });
  return record("layer_norm", {x, weight, bias}, y, {x, weight, rstd, mean},
                [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  const NormGradients g = layer_norm_gradients(
                      c, dy, c.take_given(0),
                      {.dx = c.needs(0), .dweight = c.needs(1), .dbias = c.needs(2)});
                  return {g.dx, g.dweight, g.dbias};
                });
}

Tensor rms_norm(const Tensor& input, const Tensor& scale, double eps, std::optional<DType> out) {
  const OpScope scope(__func__);
  const Tensor x = autocast_float32(input), weight = autocast_float32(scale);
  check_inputs("rms_norm", "x", x, weight, {}, eps);
  const DType dtype = checked_out("rms_norm", "x", x, out);
  const auto [rows, cols] = rows_of(x, "rms_norm");
  const Tensor from = plain(x), w = plain(weight);
  const Tensor y = Tensor::empty(x.shape(), {dtype, x.device()});
  const Tensor rstd = needs_grad({x, weight}) ? row_statistic(x, rows) : Tensor();
  dispatch_norm(x.dtype(), dtype, "rms_norm", [&, rows = rows, cols = cols]<class T, class N>() {
    PLINTH_RUN(from, rms_norm_forward, rows, cols, from.data<T>(), data_or_null<T>(w),
               static_cast<compute_t<T>>(eps), y.data<N>(), data_or_null<compute_t<T>>(rstd));
  });
  return record("rms_norm", {x, weight}, y, {x, weight, rstd},
                [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  const NormGradients g = rms_norm_gradients(
                      c, dy, c.take_given(0), {.dx = c.needs(0), .dweight = c.needs(1)});
                  return {g.dx, g.dweight};
                });
}

AddNorm add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& scale,
                       const Tensor& shift, double eps, std::optional<DType> out) {
  const OpScope scope(__func__);
  const Tensor weight = autocast_float32(scale), bias = autocast_float32(shift);
  const Sum in = checked_sum("add_layer_norm", x, residual, weight, bias, eps, out);
  const auto [rows, cols] = rows_of(in.stream, "add_layer_norm");
  const Tensor from = plain(in.branch), added = plain(in.stream), w = plain(weight),
               b = plain(bias);
  const Tensor sum = Tensor::empty(added.shape(), added.options());
  const Tensor normed = Tensor::empty(from.shape(), from.options());
  const bool saves = needs_grad({in.branch, in.stream, weight, bias});
  const Tensor mean = saves ? row_statistic(sum, rows) : Tensor(),
               rstd = saves ? row_statistic(sum, rows) : Tensor();
  dispatch_norm(sum.dtype(), normed.dtype(), "add_layer_norm",
                [&, rows = rows, cols = cols]<class T, class N>() {
                  PLINTH_RUN(from, add_layer_norm_forward, rows, cols, from.data<N>(),
                             added.data<T>(), data_or_null<T>(w), data_or_null<T>(b),
                             static_cast<compute_t<T>>(eps), sum.data<T>(), normed.data<N>(),
                             data_or_null<compute_t<T>>(mean), data_or_null<compute_t<T>>(rstd));
                });
  const Tensors outputs = record_multi(
      "add_layer_norm", {in.branch, in.stream, weight, bias}, {sum, normed},
      {sum, weight, rstd, mean}, [](const BackwardContext& c, const Tensors& grads) -> Tensors {
        const NormGradients g =
            layer_norm_gradients(c, grads[1], grads[0], wanted_of_sum(c, grads, true));
        return {g.of_branch(), g.dx, g.dweight, g.dbias};
      });
  return finished(outputs, in.out);
}

AddNorm add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& scale, double eps,
                     std::optional<DType> out) {
  const OpScope scope(__func__);
  const Tensor weight = autocast_float32(scale);
  const Sum in = checked_sum("add_rms_norm", x, residual, weight, {}, eps, out);
  const auto [rows, cols] = rows_of(in.stream, "add_rms_norm");
  const Tensor from = plain(in.branch), added = plain(in.stream), w = plain(weight);
  const Tensor sum = Tensor::empty(added.shape(), added.options());
  const Tensor normed = Tensor::empty(from.shape(), from.options());
  const Tensor rstd =
      needs_grad({in.branch, in.stream, weight}) ? row_statistic(sum, rows) : Tensor();
  dispatch_norm(sum.dtype(), normed.dtype(), "add_rms_norm",
                [&, rows = rows, cols = cols]<class T, class N>() {
                  PLINTH_RUN(from, add_rms_norm_forward, rows, cols, from.data<N>(),
                             added.data<T>(), data_or_null<T>(w), static_cast<compute_t<T>>(eps),
                             sum.data<T>(), normed.data<N>(), data_or_null<compute_t<T>>(rstd));
                });
  const Tensors outputs = record_multi(
      "add_rms_norm", {in.branch, in.stream, weight}, {sum, normed}, {sum, weight, rstd},
      [](const BackwardContext& c, const Tensors& grads) -> Tensors {
        const NormGradients g =
            rms_norm_gradients(c, grads[1], grads[0], wanted_of_sum(c, grads, false));
        return {g.of_branch(), g.dx, g.dweight};
      });
  return finished(outputs, in.out);
}

}  // namespace plinth
