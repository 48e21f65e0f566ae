#include "core/ops/reduce.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/ops/views.h"
#include "core/tensor_impl.h"
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reduce_cuda.h"
#include "kernels/topk/topk.h"
#include "kernels/topk/topk_cuda.h"

namespace plinth {
namespace {

using kernels::ReduceOp;

// Which dimensions of x are reduced, and the result's shape with those as 1.
struct Plan {
  std::array<bool, Shape::kMaxDims> reduced{};
  Shape kept_shape;
  int64_t count = 1;  // elements that go into one result
};

Plan plan(const Tensor& x, const Shape& dims, std::string_view op) {
  Plan result;
  if (dims.empty()) result.reduced.fill(true);
  for (int64_t dim : dims) {
    const int64_t d = wrap_dim(dim, x.dim(), op);
    check(!result.reduced[d], ErrorKind::Shape, op, "dimension ", dim, " is given twice");
    result.reduced[d] = true;
  }
  result.kept_shape = x.shape();
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (!result.reduced[d]) continue;
    result.kept_shape[d] = 1;
    result.count *= x.size(d);
  }
  return result;
}

kernels::Reduction reduction_over(const Tensor& x, const Tensor& out, const Plan& plan) {
  Shape kept, kept_in, kept_out, reduced, reduced_in;
  for (int64_t d = 0; d < x.dim(); ++d) {
    (plan.reduced[d] ? reduced : kept).push_back(x.size(d));
    (plan.reduced[d] ? reduced_in : kept_in).push_back(x.strides()[d]);
    if (!plan.reduced[d]) kept_out.push_back(out.strides()[d]);
  }
  return {make_loop<2>(kept, {kept_out, kept_in}), make_loop<1>(reduced, {reduced_in})};
}

Tensor dropped(const Tensor& out, const Plan& plan, bool keepdim) {
  if (keepdim) return out;
  Shape shape;
  for (int64_t d = 0; d < out.dim(); ++d) {
    if (!plan.reduced[d]) shape.push_back(out.size(d));
  }
  return out.reshape(shape);
}

// The reduction itself, dimensions kept.
Tensor run(ReduceOp op, const Tensor& x, const Plan& plan, std::string_view name) {
  Tensor out = Tensor::empty(plan.kept_shape, x.options());
  const bool extremum = op == ReduceOp::Max || op == ReduceOp::Min;
  check(!extremum || plan.count > 0 || out.numel() == 0, ErrorKind::Shape, name, "x has shape ",
        x.shape(), ": nothing has no extremum");
  dispatch_numeric(x.dtype(), name, [&]<class T>() {
    const kernels::Reduction shape = reduction_over(x, out, plan);
    PLINTH_RUN_WITH(x, reduce_workspace(shape), reduce, op, shape, x.data<T>(), out.data<T>());
  });
  return out;
}

Tensor extremum(ReduceOp op, const Tensor& x, const Shape& dims, bool keepdim,
                std::string_view name) {
  const Plan p = plan(x, dims, name);
  const Tensor y = run(op, x, p, name);
  const Tensor kept =
      record(name, {x}, y, {x, y},
             [dims = Shape(dims)](const BackwardContext& c, const Tensor& dy) -> Tensors {
               const Tensor hits = eq(c.saved(0), c.saved(1)).to(dy.dtype());
               return {hits * (dy / sum(hits, dims, true))};
             });
  return dropped(kept, p, keepdim);
}

}  // namespace

Tensor sum(const Tensor& x, const Shape& dims, bool keepdim) {
  const OpScope scope(__func__);
  if (!is_floating_point(x.dtype()) && x.dtype() != DType::Int64)
    return sum(x.to(DType::Int64), dims, keepdim);
  const Plan p = plan(x, dims, "sum");
  const Tensor kept =
      record("sum", {x}, run(ReduceOp::Sum, x, p, "sum"), {},
             [shape = x.shape()](const BackwardContext&, const Tensor& dy) -> Tensors {
               return {dy.expand(shape)};
             });
  return dropped(kept, p, keepdim);
}

Tensor mean(const Tensor& x, const Shape& dims, bool keepdim) {
  const OpScope scope(__func__);
  check(is_floating_point(x.dtype()), ErrorKind::DType, "mean", "got dtype ", name(x.dtype()),
        ", takes floating point");
  const Plan p = plan(x, dims, "mean");
  const Tensor kept = record("mean", {x}, run(ReduceOp::Mean, x, p, "mean"), {},
                             [shape = x.shape(), count = static_cast<double>(p.count)](
                                 const BackwardContext&, const Tensor& dy) -> Tensors {
                               // A count may lie beyond float16.
                               const Tensor share = dy.to(compute_dtype(dy.dtype())) / count;
                               return {share.to(dy.dtype()).expand(shape)};
                             });
  return dropped(kept, p, keepdim);
}

Tensor var(const Tensor& x, const Shape& dims, int64_t correction, bool keepdim) {
  const OpScope scope(__func__);
  // A rounded mean is a wrong one for values that lie near each other, and squares may overflow.
  if (x.dtype() == DType::BFloat16 || x.dtype() == DType::Float16)
    return var(x.to(compute_dtype(x.dtype())), dims, correction, keepdim).to(x.dtype());
  const auto count = static_cast<double>(plan(x, dims, "var").count);
  const Tensor biased = mean(square(x - mean(x, dims, true)), dims, keepdim);
  return correction == 0 ? biased : biased * (count / std::max(0.0, count - double(correction)));
}

Tensor prod(const Tensor& x, const Shape& dims, bool keepdim) {
  const OpScope scope(__func__);
  const Plan p = plan(x, dims, "prod");
  // Dividing by x would fail at zeros, so the gradient is taken one reduced dimension at a time,
  // from the products of what stands before and after each element.
  Shape reduced;
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (p.reduced[d]) reduced.push_back(d);
  }
  if (reduced.dim() > 1) {
    Tensor y = x;
    for (int64_t d : reduced) y = prod(y, {d}, true);
    return dropped(y, p, keepdim);
  }
  const Tensor y = run(ReduceOp::Prod, x, p, "prod");
  const Tensor kept =
      record("prod", {x}, y, {x}, [reduced](const BackwardContext& c, const Tensor& dy) -> Tensors {
        const Tensor& x = c.saved(0);
        if (reduced.empty()) return {dy};
        const int64_t d = reduced[0];
        Tensors others;
        for (int64_t i = 0; i < x.size(d); ++i) {
          Tensor rest = ones_like(x.narrow(d, 0, 1));
          for (int64_t j = 0; j < x.size(d); ++j) {
            if (j != i) rest = rest * x.narrow(d, j, 1);
          }
          others.push_back(rest);
        }
        return {others.empty() ? zeros_like(x) : dy * cat(others, d)};
      });
  return dropped(kept, p, keepdim);
}

Tensor amax(const Tensor& x, const Shape& dims, bool keepdim) {
  const OpScope scope(__func__);
  return extremum(ReduceOp::Max, x, dims, keepdim, "amax");
}
Tensor amin(const Tensor& x, const Shape& dims, bool keepdim) {
  const OpScope scope(__func__);
  return extremum(ReduceOp::Min, x, dims, keepdim, "amin");
}

Tensor logsumexp(const Tensor& x, const Shape& dims, bool keepdim) {
  const OpScope scope(__func__);
  const DType wide = compute_dtype(x.dtype());
  if (x.dtype() == DType::BFloat16 || x.dtype() == DType::Float16)
    return logsumexp(x.to(wide), dims, keepdim).to(x.dtype());
  // The shift only keeps exp in range, and its gradient cancels. An infinite one would give NaN.
  const Tensor largest = amax(x.detach(), dims, true);
  const Tensor shift = where(lt(abs(largest), std::numeric_limits<double>::infinity()), largest,
                             zeros_like(largest));
  const Tensor kept = log(sum(exp(x - shift), dims, true)) + shift;
  return dropped(kept, plan(x, dims, "logsumexp"), keepdim);
}

Tensor norm(const Tensor& x, const Shape& dims, bool keepdim) {
  const OpScope scope(__func__);
  check(is_floating_point(x.dtype()), ErrorKind::DType, "norm", "got dtype ", name(x.dtype()),
        ", takes floating point");
  const Plan p = plan(x, dims, "norm");
  const Tensor y = run(ReduceOp::Norm, x, p, "norm");
  const Tensor kept =
      record("norm", {x}, y, {x, y}, [](const BackwardContext& c, const Tensor& dy) -> Tensors {
        // At 0 the subgradient 0 is taken.
        const Tensor &x = c.saved(0), &y = c.saved(1);
        return {x * (dy * where(eq(y, 0), zeros_like(y), reciprocal(y)))};
      });
  return dropped(kept, p, keepdim);
}

namespace {

Tensor reversed(const Tensor& x, int64_t d) {
  return index_select(
      x, d, arange(static_cast<double>(x.size(d) - 1), -1, -1, {DType::Int64, x.device()}));
}

}  // namespace

Tensor cumsum(const Tensor& x, int64_t dim) {
  const OpScope scope(__func__);
  const int64_t d = wrap_dim(dim, x.dim(), "cumsum");
  const Tensor rows = x.detach().transpose(d, -1).contiguous();
  Tensor sums = Tensor::empty(rows.shape(), rows.options());
  dispatch_numeric(x.dtype(), "cumsum", [&]<class T>() {
    const int64_t length = rows.size(-1);
    PLINTH_RUN(rows, cumsum, length == 0 ? 0 : rows.numel() / length, length, rows.data<T>(),
               sums.data<T>());
  });
  return record("cumsum", {x}, sums.transpose(d, -1).contiguous(), {},
                [d](const BackwardContext&, const Tensor& dy) -> Tensors {
                  // No difference of two sums, in which small gradients behind large ones are lost.
                  return {reversed(cumsum(reversed(dy, d), d), d)};
                });
}

Tensor argmax(const Tensor& x, int64_t dim, bool keepdim) {
  const OpScope scope(__func__);
  const Plan p = plan(x, {dim}, "argmax");
  Tensor out = Tensor::empty(p.kept_shape, {DType::Int64, x.device()});
  check(p.count > 0 || out.numel() == 0, ErrorKind::Shape, "argmax", "x has shape ", x.shape(),
        ": nothing has no maximum");
  dispatch_numeric(x.dtype(), "argmax", [&]<class T>() {
    PLINTH_RUN(x, argmax, reduction_over(x, out, p), x.data<T>(), out.data<int64_t>());
  });
  return dropped(out, p, keepdim);
}

Tensor any(const Tensor& x) {
  const OpScope scope(__func__);
  const Tensor b = x.detach().to(DType::Bool);
  Tensor out = Tensor::empty({}, b.options());
  const kernels::Reduction shape = reduction_over(b, out, plan(b, {}, "any"));
  PLINTH_RUN_WITH(b, reduce_workspace(shape), any, shape, b.data<bool>(), out.data<bool>());
  return out;
}

Tensor all(const Tensor& x) {
  const OpScope scope(__func__);
  const Tensor b = x.detach().to(DType::Bool);
  Tensor out = Tensor::empty({}, b.options());
  const kernels::Reduction shape = reduction_over(b, out, plan(b, {}, "all"));
  PLINTH_RUN_WITH(b, reduce_workspace(shape), all, shape, b.data<bool>(), out.data<bool>());
  return out;
}

TopK topk(const Tensor& x, int64_t k) {
  const OpScope scope(__func__);
  check(x.dim() >= 1 && k >= 0 && k <= x.size(-1), ErrorKind::Argument, "topk", "k is ", k,
        ", x has shape ", x.shape(), "; k goes up to the last dimension's size");
  const Tensor rows = x.detach().contiguous();
  Shape shape = x.shape();
  shape[shape.dim() - 1] = k;
  Tensor indices = Tensor::empty(shape, {DType::Int64, x.device()});
  const int64_t length = x.size(-1), count = length == 0 ? 0 : rows.numel() / length;
  dispatch_numeric(x.dtype(), "topk", [&]<class T>() {
    PLINTH_RUN(rows, topk, count, length, k, rows.data<T>(), indices.data<int64_t>());
  });
  return {gather(x, -1, indices), indices};
}

}  // namespace plinth
