// Functions of one tensor, each with its derivative.

#include <cmath>

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_cuda.h"

namespace plinth {
namespace {

using kernels::UnaryOp;

Tensor run_floating(UnaryOp op, const Tensor& x, std::string_view name) {
  Tensor out = Tensor::empty(x.shape(), x.options());
  dispatch_floating(x.dtype(), name, [&]<class T>() {
    PLINTH_RUN(x, unary, op, loop_over(out, x), x.data<T>(), out.data<T>());
  });
  return out;
}

Tensor run_numeric(UnaryOp op, const Tensor& x, std::string_view name) {
  Tensor out = Tensor::empty(x.shape(), x.options());
  dispatch_numeric(x.dtype(), name, [&]<class T>() {
    PLINTH_RUN(x, unary, op, loop_over(out, x), x.data<T>(), out.data<T>());
  });
  return out;
}

// A step function: its derivative is 0 wherever it has one.
Tensor step_function(UnaryOp op, const Tensor& x, std::string_view name, bool integers_too) {
  return record(
      name, {x}, integers_too ? run_numeric(op, x, name) : run_floating(op, x, name), {},
      [](const BackwardContext&, const Tensor& dy) -> Tensors { return {zeros_like(dy)}; });
}

}  // namespace

Tensor neg(const Tensor& x) {
  const OpScope scope(__func__);
  return record("neg", {x}, run_numeric(UnaryOp::Neg, x, "neg"), {},
                [](const BackwardContext&, const Tensor& dy) -> Tensors { return {neg(dy)}; });
}

Tensor abs(const Tensor& x) {
  const OpScope scope(__func__);
  return record("abs", {x}, run_numeric(UnaryOp::Abs, x, "abs"), {x},
                [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {dy * sign(c.saved(0))};
                });
}

Tensor exp(const Tensor& x) {
  const OpScope scope(__func__);
  const Tensor y = run_floating(UnaryOp::Exp, x, "exp");
  return record("exp", {x}, y, {y}, [](const BackwardContext& c, const Tensor& dy) -> Tensors {
    return {dy * c.saved(0)};
  });
}

Tensor log(const Tensor& x) {
  const OpScope scope(__func__);
  return record(
      "log", {x}, run_floating(UnaryOp::Log, x, "log"), {x},
      [](const BackwardContext& c, const Tensor& dy) -> Tensors { return {dy / c.saved(0)}; });
}

Tensor sqrt(const Tensor& x) {
  const OpScope scope(__func__);
  const Tensor y = run_floating(UnaryOp::Sqrt, x, "sqrt");
  return record("sqrt", {x}, y, {y}, [](const BackwardContext& c, const Tensor& dy) -> Tensors {
    return {dy / (c.saved(0) * 2)};
  });
}

Tensor rsqrt(const Tensor& x) {
  const OpScope scope(__func__);
  const Tensor y = run_floating(UnaryOp::Rsqrt, x, "rsqrt");
  return record("rsqrt", {x}, y, {y}, [](const BackwardContext& c, const Tensor& dy) -> Tensors {
    const Tensor& y = c.saved(0);
    return {dy * (y * square(y)) * -0.5};
  });
}

Tensor reciprocal(const Tensor& x) {
  const OpScope scope(__func__);
  const Tensor y = run_floating(UnaryOp::Reciprocal, x, "reciprocal");
  return record("reciprocal", {x}, y, {y},
                [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {neg(dy * square(c.saved(0)))};
                });
}

Tensor sin(const Tensor& x) {
  const OpScope scope(__func__);
  return record(
      "sin", {x}, run_floating(UnaryOp::Sin, x, "sin"), {x},
      [](const BackwardContext& c, const Tensor& dy) -> Tensors { return {dy * cos(c.saved(0))}; });
}

Tensor cos(const Tensor& x) {
  const OpScope scope(__func__);
  return record("cos", {x}, run_floating(UnaryOp::Cos, x, "cos"), {x},
                [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {neg(dy * sin(c.saved(0)))};
                });
}

Tensor tanh(const Tensor& x) {
  const OpScope scope(__func__);
  const Tensor y = run_floating(UnaryOp::Tanh, x, "tanh");
  return record("tanh", {x}, y, {y}, [](const BackwardContext& c, const Tensor& dy) -> Tensors {
    return {dy * (1.0 - square(c.saved(0)))};
  });
}

Tensor sigmoid(const Tensor& x) {
  const OpScope scope(__func__);
  const Tensor y = run_floating(UnaryOp::Sigmoid, x, "sigmoid");
  return record("sigmoid", {x}, y, {y}, [](const BackwardContext& c, const Tensor& dy) -> Tensors {
    const Tensor& y = c.saved(0);
    return {dy * (y * (1.0 - y))};
  });
}

Tensor erf(const Tensor& x) {
  const OpScope scope(__func__);
  return record("erf", {x}, run_floating(UnaryOp::Erf, x, "erf"), {x},
                [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {dy * (exp(neg(square(c.saved(0)))) * (2 / std::sqrt(M_PI)))};
                });
}

Tensor square(const Tensor& x) {
  const OpScope scope(__func__);
  return record(
      "square", {x}, run_numeric(UnaryOp::Square, x, "square"), {x},
      [](const BackwardContext& c, const Tensor& dy) -> Tensors { return {dy * c.saved(0) * 2}; });
}

Tensor sign(const Tensor& x) {
  const OpScope scope(__func__);
  return step_function(UnaryOp::Sign, x, "sign", true);
}
Tensor floor(const Tensor& x) {
  const OpScope scope(__func__);
  return step_function(UnaryOp::Floor, x, "floor", false);
}
Tensor round(const Tensor& x) {
  const OpScope scope(__func__);
  return step_function(UnaryOp::Round, x, "round", false);
}

Tensor clamp(const Tensor& x, double low, double high) {
  const OpScope scope(__func__);
  check(low <= high, ErrorKind::Argument, "clamp", "low is ", low, ", expected at most high, ",
        high);
  const Tensor inside = logical_and(ge(x.detach(), low), le(x.detach(), high));
  const Tensor limited =
      minimum(maximum(x.detach(), scalar(low, x.options())), scalar(high, x.options()));
  return record("clamp", {x}, limited, {inside},
                [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {where(c.saved(0), dy, scalar(0, dy.options()))};
                });
}

}  // namespace plinth
