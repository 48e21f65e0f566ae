#include "core/ops/softmax.h"

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/ops/reduce.h"
#include "core/tensor_impl.h"
#include "kernels/softmax/softmax.h"
#include "kernels/softmax/softmax_cuda.h"

namespace plinth {
namespace {

// Runs a kernel (x, rows, cols, inputs..., out) on the last dimension.
template <class Kernel, class... In>
Tensor run_on_rows(std::string_view op, Kernel kernel, const Tensor& x, const In&... more) {
  const auto [rows, cols] = rows_of(x, op);
  Tensor out = Tensor::empty(x.shape(), x.options());
  dispatch_floating(x.dtype(), op, [&, rows = rows, cols = cols]<class T>() {
    kernel.template operator()<T>(x, rows, cols, x.data<T>(), more.template data<T>()...,
                                  out.data<T>());
  });
  return out;
}

Tensor softmax_last(const Tensor& x) {
  const Tensor y = run_on_rows(
      "softmax",
      []<class T>(const Tensor& x, auto... arguments) {
        PLINTH_RUN(x, softmax_forward<T>, arguments...);
      },
      plain(x));
  return record("softmax", {x}, y, {y}, [](const BackwardContext& c, const Tensor& dy) -> Tensors {
    const Tensor& y = c.saved(0);
    if (grad_enabled()) return {y * (dy - sum(dy * y, {-1}, true))};
    return {run_on_rows(
        "softmax_backward",
        []<class T>(const Tensor& x, auto... arguments) {
          PLINTH_RUN(x, softmax_backward<T>, arguments...);
        },
        plain(dy), y)};
  });
}

Tensor log_softmax_last(const Tensor& x) {
  const Tensor y = run_on_rows(
      "log_softmax",
      []<class T>(const Tensor& x, auto... arguments) {
        PLINTH_RUN(x, log_softmax_forward<T>, arguments...);
      },
      plain(x));
  return record("log_softmax", {x}, y, {y},
                [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  const Tensor& y = c.saved(0);
                  if (grad_enabled()) return {dy - exp(y) * sum(dy, {-1}, true)};
                  return {run_on_rows(
                      "log_softmax_backward",
                      []<class T>(const Tensor& x, auto... arguments) {
                        PLINTH_RUN(x, log_softmax_backward<T>, arguments...);
                      },
                      plain(dy), y)};
                });
}

// f along dim, given f along the last dimension.
template <class F>
Tensor along(const Tensor& x, int64_t dim, std::string_view op, F f) {
  check_floating(x, op, "x");
  const int64_t d = wrap_dim(dim, x.dim(), op);
  const Tensor input = autocast_float32(x);
  return d == x.dim() - 1 ? f(input) : f(input.transpose(d, -1)).transpose(d, -1);
}

}  // namespace

Tensor softmax(const Tensor& x, int64_t dim) {
  const OpScope scope(__func__);
  return along(x, dim, "softmax", softmax_last);
}

Tensor log_softmax(const Tensor& x, int64_t dim) {
  const OpScope scope(__func__);
  return along(x, dim, "log_softmax", log_softmax_last);
}

}  // namespace plinth
