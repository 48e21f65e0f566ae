#include "core/ops/activation.h"

#include <cmath>

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "kernels/activation/activation.h"
#include "kernels/activation/activation_cuda.h"
#include "kernels/bias_gelu/bias_gelu.h"
#include "kernels/bias_gelu/bias_gelu_cuda.h"
#include "kernels/swiglu/swiglu.h"
#include "kernels/swiglu/swiglu_cuda.h"

// Each gradient is written twice: as a fused kernel, and in differentiable ops for a backward pass
// that is itself recorded.

namespace plinth {
namespace {

// ---- derivatives in differentiable ops ----

Tensor relu_slope(const Tensor& x) {
  return gt(x, 0).to(x.dtype());
}

Tensor silu_slope(const Tensor& x) {
  const Tensor s = sigmoid(x);
  return s * (x * (1.0 - s) + 1.0);
}

Tensor gelu_slope(const Tensor& x) {
  const Tensor distribution = (erf(x * M_SQRT1_2) + 1.0) * 0.5;
  const Tensor density = exp(square(x) * -0.5) * (1 / std::sqrt(2 * M_PI));
  return distribution + x * density;
}

// Beyond these limits a slope is 0 or 1 in every type, and infinities would meet factors of 0.
Tensor gelu_tanh_slope(const Tensor& any_x) {
  const double k = std::sqrt(2 / M_PI), cubic = 0.044715;
  const Tensor x = clamp(any_x, -32, 32);
  const Tensor x2 = square(x);
  const Tensor t = tanh(x * (x2 * cubic + 1.0) * k);
  const Tensor slope_of_argument = (x2 * (3 * cubic) + 1.0) * k;
  return (t + 1.0) * 0.5 + x * (1.0 - square(t)) * slope_of_argument * 0.5;
}

Tensor gelu_quick_slope(const Tensor& x) {
  constexpr double kSlope = 1.702;
  const Tensor scaled = clamp(x, -1024, 1024) * kSlope;
  const Tensor s = sigmoid(scaled);
  return s * (scaled * (1.0 - s) + 1.0);
}

Tensor gelu_slope_of(GeluForm form, const Tensor& x) {
  switch (form) {
    case GeluForm::Exact: return gelu_slope(x);
    case GeluForm::Tanh: return gelu_tanh_slope(x);
    default: return gelu_quick_slope(x);
  }
}

// ---- functions of one tensor ----

// Runs a kernel (x, n, inputs..., out).
template <class Kernel, class... In>
Tensor run_pointwise(std::string_view op, Kernel kernel, const Tensor& x, const In&... more) {
  Tensor out = Tensor::empty(x.shape(), x.options());
  dispatch_floating(x.dtype(), op, [&]<class T>() {
    kernel.template operator()<T>(x, x.numel(), x.data<T>(), more.template data<T>()...,
                                  out.data<T>());
  });
  return out;
}

// The op `name` from its two kernels and its derivative.
template <class Forward, class Backward>
Tensor activation(std::string_view name, const Tensor& x, Forward forward, Backward backward,
                  Tensor (*slope)(const Tensor&)) {
  check_floating(x, name, "x");
  return record(name, {x}, run_pointwise(name, forward, plain(x)), {x},
                [=](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  const Tensor& x = c.saved(0);
                  if (grad_enabled()) return {dy * slope(x)};
                  return {run_pointwise("activation_backward", backward, plain(dy), plain(x))};
                });
}

}  // namespace

Tensor relu(const Tensor& x) {
  const OpScope scope(__func__);
  return activation(
      "relu", x, []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, relu_forward<T>, a...); },
      []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, relu_backward<T>, a...); },
      relu_slope);
}

Tensor silu(const Tensor& x) {
  const OpScope scope(__func__);
  return activation(
      "silu", x, []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, silu_forward<T>, a...); },
      []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, silu_backward<T>, a...); },
      silu_slope);
}

Tensor gelu(const Tensor& x, GeluForm form) {
  const OpScope scope(__func__);
  if (form == GeluForm::Tanh) {
    return activation(
        "gelu", x,
        []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, gelu_tanh_forward<T>, a...); },
        []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, gelu_tanh_backward<T>, a...); },
        gelu_tanh_slope);
  }
  if (form == GeluForm::Quick) {
    return activation(
        "gelu", x,
        []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, gelu_quick_forward<T>, a...); },
        []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, gelu_quick_backward<T>, a...); },
        gelu_quick_slope);
  }
  return activation(
      "gelu", x, []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, gelu_forward<T>, a...); },
      []<class T>(const Tensor& x, auto... a) { PLINTH_RUN(x, gelu_backward<T>, a...); },
      gelu_slope);
}

// ---- SwiGLU ----

namespace {

// x as [rows, cols] with adjacent columns and any distance between rows; a copy only where its
// leading dimensions do not join.
Tensor strided_rows(const Tensor& x, const Rows& matrix) {
  const NoGradGuard no_grad;
  const Tensor rows = x.detach().reshape({matrix.rows, matrix.cols});
  return matrix.cols <= 1 || rows.strides()[1] == 1 ? rows : rows.contiguous();
}

Tensors swiglu_gradients(const Tensor& gate, const Tensor& up, const Tensor& dy) {
  if (grad_enabled()) return {dy * up * silu_slope(gate), dy * silu(gate)};
  const Rows matrix = rows_of(gate, "swiglu_backward");
  const Tensor a = strided_rows(gate, matrix), b = strided_rows(up, matrix), g = plain(dy);
  const Tensor dgate = Tensor::empty(gate.shape(), gate.options());
  const Tensor dup = Tensor::empty(up.shape(), up.options());
  dispatch_floating(gate.dtype(), "swiglu_backward", [&]<class T>() {
    PLINTH_RUN(g, swiglu_backward, matrix.rows, matrix.cols, g.data<T>(), a.data<T>(),
               a.strides()[0], b.data<T>(), b.strides()[0], dgate.data<T>(), matrix.cols,
               dup.data<T>(), matrix.cols);
  });
  return {dgate, dup};
}

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  const OpScope scope(__func__);
  check_floating(gate, "swiglu", "gate");
  check_shape(up, gate.shape(), "swiglu", "up", "that of gate");
  check_like(up, gate, "swiglu", "up", "gate");
  const Rows matrix = rows_of(gate, "swiglu", "gate");
  const Tensor a = strided_rows(gate, matrix), b = strided_rows(up, matrix);
  const Tensor y = Tensor::empty(gate.shape(), gate.options());
  dispatch_floating(gate.dtype(), "swiglu", [&]<class T>() {
    PLINTH_RUN(a, swiglu_forward, matrix.rows, matrix.cols, a.data<T>(), a.strides()[0],
               b.data<T>(), b.strides()[0], y.data<T>());
  });
  return record("swiglu", {gate, up}, y, {gate, up},
                [](const BackwardContext& c, const Tensor& dy) {
                  return swiglu_gradients(c.saved(0), c.saved(1), dy);
                });
}

// ---- GELU of a biased input ----

namespace {

Tensors bias_gelu_gradients(const BackwardContext& c, const Tensor& dy, GeluForm form) {
  const Tensor &x = c.saved(0), &bias = c.saved(1);
  if (grad_enabled()) {
    const Tensor shifted = x + bias;
    const Tensor dx = dy * gelu_slope_of(form, shifted);
    return {dx, sum_to(dx, bias.shape())};
  }
  const auto [rows, cols] = rows_of(x, "bias_gelu_backward");
  const Tensor in = plain(x), b = plain(bias), g = plain(dy);
  const Tensor dx = Tensor::empty(x.shape(), x.options());
  const Tensor dbias = c.needs(1) ? Tensor::empty(bias.shape(), bias.options()) : Tensor();
  dispatch_floating(x.dtype(), "bias_gelu_backward", [&, rows = rows, cols = cols]<class T>() {
    const auto backward = [&](auto... arguments) {
      if (form == GeluForm::Tanh) {
        PLINTH_RUN_WITH(x, bias_gelu_backward_workspace<T>(rows, cols), bias_gelu_tanh_backward<T>,
                        arguments...);
      } else if (form == GeluForm::Quick) {
        PLINTH_RUN_WITH(x, bias_gelu_backward_workspace<T>(rows, cols), bias_gelu_quick_backward<T>,
                        arguments...);
      } else {
        PLINTH_RUN_WITH(x, bias_gelu_backward_workspace<T>(rows, cols), bias_gelu_backward<T>,
                        arguments...);
      }
    };
    backward(rows, cols, g.data<T>(), in.data<T>(), b.data<T>(), dx.data<T>(),
             data_or_null<T>(dbias));
  });
  return {dx, dbias};
}

}  // namespace

Tensor bias_gelu(const Tensor& x, const Tensor& bias, GeluForm form) {
  const OpScope scope(__func__);
  check_floating(x, "bias_gelu", "x");
  const auto [rows, cols] = rows_of(x, "bias_gelu");
  check_shape(bias, {cols}, "bias_gelu", "bias", "last dimension of x");
  check_like(bias, x, "bias_gelu", "bias", "x");
  const Tensor in = plain(x), b = plain(bias);
  const Tensor y = Tensor::empty(x.shape(), x.options());
  dispatch_floating(x.dtype(), "bias_gelu", [&, rows = rows, cols = cols]<class T>() {
    if (form == GeluForm::Tanh) {
      PLINTH_RUN(x, bias_gelu_tanh_forward<T>, rows, cols, in.data<T>(), b.data<T>(), y.data<T>());
    } else if (form == GeluForm::Quick) {
      PLINTH_RUN(x, bias_gelu_quick_forward<T>, rows, cols, in.data<T>(), b.data<T>(), y.data<T>());
    } else {
      PLINTH_RUN(x, bias_gelu_forward<T>, rows, cols, in.data<T>(), b.data<T>(), y.data<T>());
    }
  });
  return record("bias_gelu", {x, bias}, y, {x, bias},
                [form](const BackwardContext& c, const Tensor& dy) {
                  return bias_gelu_gradients(c, dy, form);
                });
}

}  // namespace plinth
