#include "core/ops/index.h"

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/tensor_impl.h"
#include "kernels/index/index.h"
#include "kernels/index/index_cuda.h"

namespace plinth {
namespace {

using kernels::cpu::IndexShape;

// x seen as [outer, length, inner] around dimension d.
IndexShape around(const Shape& shape, int64_t d, int64_t indices) {
  IndexShape result{.outer = 1, .length = shape[d], .indices = indices, .inner = 1};
  for (int64_t i = 0; i < d; ++i) result.outer *= shape[i];
  for (int64_t i = d + 1; i < shape.dim(); ++i) result.inner *= shape[i];
  return result;
}

// index must have x's shape but along d, as in gather.
Tensor checked_gather_index(const Tensor& x, int64_t d, const Tensor& index, std::string_view op) {
  Shape expected = x.shape();
  if (index.dim() == x.dim()) expected[d] = index.size(d);
  check(index.shape() == expected, ErrorKind::Shape, op, "index has shape ", index.shape(),
        ", expected x's ", x.shape(), " but for dimension ", d);
  check_same_device(op, {&x, &index});
  return checked_index(index, x.size(d), op);
}

void check_source(const Tensor& x, const Tensor& source, const Shape& expected,
                  std::string_view op) {
  check(source.shape() == expected, ErrorKind::Shape, op, "source has shape ", source.shape(),
        ", expected ", expected);
  check(source.dtype() == x.dtype(), ErrorKind::DType, op, "source has dtype ",
        name(source.dtype()), ", expected x's ", name(x.dtype()));
  check_same_device(op, {&x, &source});
}

}  // namespace

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  const OpScope scope(__func__);
  const int64_t d = wrap_dim(dim, x.dim(), "index_select");
  check(index.dim() == 1, ErrorKind::Shape, "index_select", "index has shape ", index.shape(),
        ", expected one dimension");
  check_same_device("index_select", {&x, &index});
  const Tensor at = checked_index(index, x.size(d), "index_select");
  const Tensor from = x.detach().contiguous();
  Shape shape = x.shape();
  shape[d] = index.size(0);
  Tensor out = Tensor::empty(shape, x.options());
  PLINTH_RUN(x, index_select, around(x.shape(), d, index.size(0)), size_of(x.dtype()),
             from.raw_data(), at.data<int64_t>(), out.raw_data());
  return record("index_select", {x}, out, {at},
                [d, shape = x.shape()](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {index_add(zeros(shape, dy.options()), d, c.saved(0), dy)};
                });
}

Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  const OpScope scope(__func__);
  const int64_t d = wrap_dim(dim, x.dim(), "index_add");
  check(index.dim() == 1, ErrorKind::Shape, "index_add", "index has shape ", index.shape(),
        ", expected one dimension");
  check_same_device("index_add", {&x, &index});
  const Tensor at = checked_index(index, x.size(d), "index_add");
  Shape expected = x.shape();
  expected[d] = index.size(0);
  check_source(x, source, expected, "index_add");
  const Tensor out = x.detach().clone(), from = source.detach().contiguous();
  dispatch_numeric(x.dtype(), "index_add", [&]<class T>() {
    const IndexShape place = around(x.shape(), d, index.size(0));
    PLINTH_RUN_WITH(x, index_add_workspace<T>(place), index_add, place, from.data<T>(),
                    at.data<int64_t>(), out.data<T>());
  });
  return record("index_add", {x, source}, out, {at},
                [d](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {dy, c.needs(1) ? index_select(dy, d, c.saved(0)) : Tensor()};
                });
}

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  const OpScope scope(__func__);
  const int64_t d = wrap_dim(dim, x.dim(), "gather");
  const Tensor at = checked_gather_index(x, d, index, "gather");
  const Tensor from = x.detach().contiguous();
  Tensor out = Tensor::empty(index.shape(), x.options());
  PLINTH_RUN(x, gather, around(x.shape(), d, index.size(d)), size_of(x.dtype()), from.raw_data(),
             at.data<int64_t>(), out.raw_data());
  return record("gather", {x}, out, {at},
                [d, shape = x.shape()](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {scatter_add(zeros(shape, dy.options()), d, c.saved(0), dy)};
                });
}

Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  const OpScope scope(__func__);
  const int64_t d = wrap_dim(dim, x.dim(), "scatter_add");
  const Tensor at = checked_gather_index(x, d, index, "scatter_add");
  check_source(x, source, index.shape(), "scatter_add");
  const Tensor out = x.detach().clone(), from = source.detach().contiguous();
  dispatch_numeric(x.dtype(), "scatter_add", [&]<class T>() {
    PLINTH_RUN(x, scatter_add, around(x.shape(), d, index.size(d)), from.data<T>(),
               at.data<int64_t>(), out.data<T>());
  });
  return record("scatter_add", {x, source}, out, {at},
                [d](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  return {dy, c.needs(1) ? gather(dy, d, c.saved(0)) : Tensor()};
                });
}

Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  const OpScope scope(__func__);
  const int64_t d = wrap_dim(dim, x.dim(), "scatter");
  const Tensor at = checked_gather_index(x, d, index, "scatter");
  check_source(x, source, index.shape(), "scatter");
  const Tensor out = x.detach().clone(), from = source.detach().contiguous();
  PLINTH_RUN(x, scatter, around(x.shape(), d, index.size(d)), size_of(x.dtype()), from.raw_data(),
             at.data<int64_t>(), out.raw_data());
  return record("scatter", {x, source}, out, {at},
                [d](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  const Tensor& at = c.saved(0);
                  return {scatter(dy, d, at, zeros(at.shape(), dy.options())),
                          c.needs(1) ? gather(dy, d, at) : Tensor()};
                });
}

Tensor one_hot(const Tensor& indices, int64_t classes, DType dtype) {
  const OpScope scope(__func__);
  checked_index(indices, classes, "one_hot");
  return eq(indices.unsqueeze(-1),
            arange(0, static_cast<double>(classes), 1, {DType::Int64, indices.device()}))
      .to(dtype);
}

}  // namespace plinth
