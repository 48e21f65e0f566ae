// Comparisons, logic and choice.

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_cuda.h"

namespace plinth {
namespace {

using kernels::CompareOp;
using kernels::LogicalOp;

Tensor run(CompareOp op, const Tensor& a, const Tensor& b, std::string_view name) {
  check_same_device(name, {&a, &b});
  const DType dtype = promote(a.dtype(), b.dtype());
  const Tensor x = a.detach().to(dtype), y = b.detach().to(dtype);
  Tensor out =
      Tensor::empty(broadcast_shape(a.shape(), b.shape(), name), {DType::Bool, a.device()});
  const auto loop = loop_over(out, x, y);
  if (dtype == DType::Bool) {
    PLINTH_RUN(x, compare, op, loop, x.data<bool>(), y.data<bool>(), out.data<bool>());
  } else {
    dispatch_numeric(dtype, name, [&]<class T>() {
      PLINTH_RUN(x, compare, op, loop, x.data<T>(), y.data<T>(), out.data<bool>());
    });
  }
  return out;
}

// A comparison with a fractional number must not round it to an integer tensor's dtype.
Tensor run(CompareOp op, const Tensor& a, double b, std::string_view name) {
  return run(op, a,
             scalar(b, {is_floating_point(a.dtype()) ? a.dtype() : DType::Float64, a.device()}),
             name);
}

Tensor run(LogicalOp op, const Tensor& a, const Tensor& b, std::string_view name) {
  check_same_device(name, {&a, &b});
  const Tensor x = a.detach().to(DType::Bool), y = b.detach().to(DType::Bool);
  Tensor out =
      Tensor::empty(broadcast_shape(a.shape(), b.shape(), name), {DType::Bool, a.device()});
  PLINTH_RUN(x, logical, op, loop_over(out, x, y), x.data<bool>(), y.data<bool>(),
             out.data<bool>());
  return out;
}

}  // namespace

Tensor eq(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return run(CompareOp::Eq, a, b, "eq");
}
Tensor ne(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return run(CompareOp::Ne, a, b, "ne");
}
Tensor lt(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return run(CompareOp::Lt, a, b, "lt");
}
Tensor le(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return run(CompareOp::Le, a, b, "le");
}
Tensor gt(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return run(CompareOp::Gt, a, b, "gt");
}
Tensor ge(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return run(CompareOp::Ge, a, b, "ge");
}
Tensor eq(const Tensor& a, double b) {
  const OpScope scope(__func__);
  return run(CompareOp::Eq, a, b, "eq");
}
Tensor ne(const Tensor& a, double b) {
  const OpScope scope(__func__);
  return run(CompareOp::Ne, a, b, "ne");
}
Tensor lt(const Tensor& a, double b) {
  const OpScope scope(__func__);
  return run(CompareOp::Lt, a, b, "lt");
}
Tensor le(const Tensor& a, double b) {
  const OpScope scope(__func__);
  return run(CompareOp::Le, a, b, "le");
}
Tensor gt(const Tensor& a, double b) {
  const OpScope scope(__func__);
  return run(CompareOp::Gt, a, b, "gt");
}
Tensor ge(const Tensor& a, double b) {
  const OpScope scope(__func__);
  return run(CompareOp::Ge, a, b, "ge");
}

Tensor logical_and(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return run(LogicalOp::And, a, b, "logical_and");
}
Tensor logical_or(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return run(LogicalOp::Or, a, b, "logical_or");
}
Tensor logical_not(const Tensor& a) {
  const OpScope scope(__func__);
  return run(LogicalOp::Xor, a, scalar(1, {DType::Bool, a.device()}), "logical_not");
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  check(condition.dtype() == DType::Bool, ErrorKind::DType, "where", "condition has dtype ",
        name(condition.dtype()), ", expected bool");
  check_same_device("where", {&condition, &a, &b});
  const DType dtype = promote(a.dtype(), b.dtype());
  const Tensor x = a.detach().to(dtype), y = b.detach().to(dtype);
  const Shape shape =
      broadcast_shape(condition.shape(), broadcast_shape(a.shape(), b.shape(), "where"), "where");
  Tensor out = Tensor::empty(shape, {dtype, a.device()});
  const auto choose = [&]<class T>() {
    PLINTH_RUN(condition, where, loop_over(out, condition, x, y), condition.data<bool>(),
               x.data<T>(), y.data<T>(), out.data<T>());
  };
  if (dtype == DType::Bool) {
    choose.operator()<bool>();
  } else {
    dispatch_numeric(dtype, "where", choose);
  }
  return record(
      "where", {a, b}, out, {condition},
      [sa = a.shape(), sb = b.shape()](const BackwardContext& c, const Tensor& dy) -> Tensors {
        const Tensor zero = scalar(0, dy.options());
        return {c.needs(0) ? sum_to(where(c.saved(0), dy, zero), sa) : Tensor(),
                c.needs(1) ? sum_to(where(c.saved(0), zero, dy), sb) : Tensor()};
      });
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  const OpScope scope(__func__);
  check(broadcast_shape(x.shape(), mask.shape(), "masked_fill") == x.shape(), ErrorKind::Shape,
        "masked_fill", "mask has shape ", mask.shape(), ", which does not broadcast to x's ",
        x.shape());
  return where(mask, scalar(value, x.options()), x);
}

}  // namespace plinth
