#include "kernels/embedding/embedding.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/ops/views.h"
#include "kernels/embedding/embedding_cuda.h"

namespace plinth {
namespace {

// The gradient of embedding's weight: rows of dy added up by their index, to `given` if defined, in
// the dtype that sums are made in: a tied head's gradient of the whole table, or zeros. Linear in
// dy, and its own gradient is the embedding again.
Tensor embedding_backward(const Tensor& dy, const Tensor& indices, int64_t vocab,
                          const Tensor& given) {
  const int64_t dim = dy.size(-1);
  const Tensor source = plain(dy);
  const Tensor sums =
      given.defined() ? given : zeros({vocab, dim}, {compute_dtype(dy.dtype()), dy.device()});
  dispatch_floating(dy.dtype(), "embedding_backward", [&]<class T>() {
    const int64_t n = indices.numel();
    PLINTH_RUN_WITH(source, embedding_backward_workspace<T>(n, vocab, dim), embedding_backward, n,
                    vocab, dim, indices.data<int64_t>(), source.data<T>(),
                    sums.data<compute_t<T>>());
  });
  Tensor dw;
  {
    const NoGradGuard no_grad;
    dw = sums.to(dy.dtype());
  }
  return record("embedding_backward", {dy}, dw, {indices},
                [](const BackwardContext& c, const Tensor& ddw) -> Tensors {
                  return {embedding(ddw, c.saved(0))};
                });
}

}  // namespace

Tensor embedding(const Tensor& weight, const Tensor& indices) {
  const OpScope scope(__func__);
  check_floating(weight, "embedding", "weight");
  check(weight.dim() == 2, ErrorKind::Shape, "embedding", "weight has shape ", weight.shape(),
        ", expected [vocab, dim]");
  const int64_t vocab = weight.size(0), dim = weight.size(1);
  check_same_device("embedding", {&weight, &indices});
  const Tensor ids = checked_index(indices, vocab, "embedding", "index");
  const Tensor table = plain(weight);
  Shape shape = indices.shape();
  shape.push_back(dim);
  Tensor out = Tensor::empty(shape, weight.options());
  dispatch_floating(weight.dtype(), "embedding", [&]<class T>() {
    PLINTH_RUN(table, embedding_forward, ids.numel(), vocab, dim, ids.data<int64_t>(),
               table.data<T>(), out.data<T>());
  });
  return record("embedding", {weight}, out, {ids},
                [vocab](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  Tensor given;
                  if (compute_dtype(dy.dtype()) == dy.dtype()) {
                    given = c.take_given(0);
                    if (!given.defined()) given = c.place(0).memory;
                  }
                  return {embedding_backward(dy, c.saved(0), vocab, given)};
                });
}

Tensor embedding_part(const Tensor& weight, const Tensor& indices, int64_t first, int64_t count) {
  const OpScope scope(__func__);
  constexpr std::string_view kOp = "embedding_part";
  check(weight.dim() == 2 && first >= 0 && first + weight.size(0) <= count, ErrorKind::Shape, kOp,
        "weight has shape ", weight.shape(), ", expected [rows, dim], rows ", first,
        " and on of a table of ", count);
  const Tensor local = checked_index(indices, count, kOp) - static_cast<double>(first);
  const auto rows = static_cast<double>(weight.size(0));
  const Tensor is_here = logical_and(ge(local, 0), lt(local, rows));
  const Tensor found = embedding(weight, where(is_here, local, zeros_like(local)));
  return where(is_here.unsqueeze(-1), found, zeros_like(found));
}

}  // namespace plinth
