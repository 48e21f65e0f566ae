// Arithmetic of two tensors: promotion, broadcasting, and the derivatives.

#include <algorithm>

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/ops/reduce.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_cuda.h"

namespace plinth {
namespace {

using kernels::BinaryOp;

struct Operands {
  Tensor a, b;
  Tensor out;
};

// Both operands in their common dtype, and room for the result.
Operands meet(const Tensor& a, const Tensor& b, std::string_view op) {
  check_same_device(op, {&a, &b});
  const DType dtype = promote(a.dtype(), b.dtype());
  Operands operands{a.detach().to(dtype), b.detach().to(dtype), {}};
  operands.out = Tensor::empty(broadcast_shape(a.shape(), b.shape(), op), {dtype, a.device()});
  return operands;
}

Tensor run(BinaryOp op, const Tensor& a, const Tensor& b, std::string_view name) {
  const Operands o = meet(a, b, name);
  dispatch_numeric(o.out.dtype(), name, [&]<class T>() {
    PLINTH_RUN(o.a, binary, op, loop_over(o.out, o.a, o.b), o.a.data<T>(), o.b.data<T>(),
               o.out.data<T>());
  });
  return o.out;
}

// A float32 stream and what a product in a narrower dtype adds to it meet without a copy.
Tensor run_add(const Tensor& a, const Tensor& b) {
  const bool a_is_narrow = adds_unconverted(b.dtype(), a.dtype());
  if (!a_is_narrow && !adds_unconverted(a.dtype(), b.dtype()))
    return run(BinaryOp::Add, a, b, "add");
  const Tensor wide = (a_is_narrow ? b : a).detach(), narrow = (a_is_narrow ? a : b).detach();
  check_same_device("add", {&a, &b});
  const Tensor out = Tensor::empty(broadcast_shape(a.shape(), b.shape(), "add"), wide.options());
  add_into(out, wide, narrow, 1, "add");
  return out;
}

// The scalar as a tensor of x's dtype; an integer tensor with a fractional scalar computes in
// float32.
Tensor scalar_beside(const Tensor& x, double value) {
  const bool fractional =
      !is_floating_point(x.dtype()) && value != static_cast<double>(static_cast<int64_t>(value));
  return scalar(value, {fractional ? DType::Float32 : x.dtype(), x.device()});
}

// Half of dy to each side of a tie.
Tensors extremum_backward(const BackwardContext& c, const Tensor& dy, const Tensor& a_wins,
                          const Tensor& tie) {
  const Tensor share = where(tie, scalar(0.5, dy.options()), a_wins.to(dy.dtype()));
  return {sum_to(dy * share, c.saved(0).shape()), sum_to(dy * (1.0 - share), c.saved(1).shape())};
}

}  // namespace

DType promote(DType a, DType b) {
  if (a == b) return a;
  const auto category = [](DType d) { return is_floating_point(d) ? 2 : is_integral(d) ? 1 : 0; };
  check(!is_float8(a) && !is_float8(b), ErrorKind::DType, "promote",
        "float8 does not combine with another dtype: got ", name(a), " and ", name(b),
        "; convert first");
  if (category(a) != category(b)) return category(a) > category(b) ? a : b;
  if (size_of(a) == size_of(b)) return DType::Float32;  // bfloat16 with float16
  return size_of(a) > size_of(b) ? a : b;
}

bool adds_unconverted(DType x, DType y) {
  return x == DType::Float32 && (y == DType::BFloat16 || y == DType::Float16);
}

Shape broadcast_shape(const Shape& a, const Shape& b, std::string_view op) {
  Shape shape = Shape::filled(std::max(a.dim(), b.dim()), 1);
  for (int64_t d = 1; d <= shape.dim(); ++d) {
    const int64_t x = d <= a.dim() ? a[a.dim() - d] : 1;
    const int64_t y = d <= b.dim() ? b[b.dim() - d] : 1;
    check(x == y || x == 1 || y == 1, ErrorKind::Shape, op, "shapes ", a, " and ", b,
          " do not broadcast");
    shape[shape.dim() - d] = x == 1 ? y : x;
  }
  return shape;
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Shape dims;
  const int64_t missing = x.dim() - shape.dim();
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (d < missing || (shape[d - missing] == 1 && x.size(d) != 1)) dims.push_back(d);
  }
  return (dims.empty() ? x : sum(x, dims, true)).reshape(shape);
}

Tensor add(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return record(
      "add", {a, b}, run_add(a, b), {},
      [sa = a.shape(), sb = b.shape()](const BackwardContext& c, const Tensor& dy) -> Tensors {
        return {c.needs(0) ? sum_to(dy, sa) : Tensor(), c.needs(1) ? sum_to(dy, sb) : Tensor()};
      });
}

Tensor sub(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return record(
      "sub", {a, b}, run(BinaryOp::Sub, a, b, "sub"), {},
      [sa = a.shape(), sb = b.shape()](const BackwardContext& c, const Tensor& dy) -> Tensors {
        return {c.needs(0) ? sum_to(dy, sa) : Tensor(),
                c.needs(1) ? neg(sum_to(dy, sb)) : Tensor()};
      });
}

Tensor mul(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  const Tensors saved = {needs_grad({b}) ? a : Tensor(), needs_grad({a}) ? b : Tensor()};
  return record(
      "mul", {a, b}, run(BinaryOp::Mul, a, b, "mul"), saved,
      [sa = a.shape(), sb = b.shape()](const BackwardContext& c, const Tensor& dy) -> Tensors {
        return {c.needs(0) ? sum_to(dy * c.saved(1), sa) : Tensor(),
                c.needs(1) ? sum_to(dy * c.saved(0), sb) : Tensor()};
      });
}

Tensor div(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  const Tensors saved = {needs_grad({b}) ? a : Tensor(), b};
  return record(
      "div", {a, b}, run(BinaryOp::Div, a, b, "div"), saved,
      [sa = a.shape(), sb = b.shape()](const BackwardContext& c, const Tensor& dy) -> Tensors {
        const Tensor &a = c.saved(0), &b = c.saved(1);
        const Tensor da = dy / b;
        return {c.needs(0) ? sum_to(da, sa) : Tensor(),
                c.needs(1) ? sum_to(neg(da * (a / b)), sb) : Tensor()};
      });
}

Tensor pow(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  const Tensor y = run(BinaryOp::Pow, a, b, "pow");
  return record(
      "pow", {a, b}, y, {a, b, y}, [](const BackwardContext& c, const Tensor& dy) -> Tensors {
        const Tensor &a = c.saved(0), &b = c.saved(1), &y = c.saved(2);
        Tensor da, db;
        if (c.needs(0))
          da = sum_to(dy * where(eq(b, 0), zeros_like(b), b * pow(a, b - 1.0)), a.shape());
        // The limit of a^b log a at a = 0 is 0 for b > 0.
        if (c.needs(1)) {
          const Tensor safe = where(eq(a, 0), ones_like(a), a);
          db = sum_to(dy * (y * log(safe)), b.shape());
        }
        return {da, db};
      });
}

Tensor maximum(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return record("maximum", {a, b}, run(BinaryOp::Maximum, a, b, "maximum"), {a, b},
                [](const BackwardContext& c, const Tensor& dy) {
                  const Tensor &a = c.saved(0), &b = c.saved(1);
                  return extremum_backward(c, dy, gt(a, b), eq(a, b));
                });
}

Tensor minimum(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  return record("minimum", {a, b}, run(BinaryOp::Minimum, a, b, "minimum"), {a, b},
                [](const BackwardContext& c, const Tensor& dy) {
                  const Tensor &a = c.saved(0), &b = c.saved(1);
                  return extremum_backward(c, dy, lt(a, b), eq(a, b));
                });
}

Tensor add(const Tensor& a, double b) {
  return add(a, scalar_beside(a, b));
}
Tensor mul(const Tensor& a, double b) {
  return mul(a, scalar_beside(a, b));
}
Tensor pow(const Tensor& a, double b) {
  return pow(a, scalar_beside(a, b));
}
Tensor operator/(const Tensor& a, double b) {
  return div(a, scalar_beside(a, b));
}
Tensor operator/(double a, const Tensor& b) {
  return div(scalar_beside(b, a), b);
}
Tensor operator-(double a, const Tensor& b) {
  return sub(scalar_beside(b, a), b);
}
Tensor operator-(const Tensor& a) {
  return neg(a);
}

}  // namespace plinth
