#include "core/ops/softplus.h"

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"

namespace plinth {

// log(1 + e) for e in [0, 1], also where 1 + e rounds: the error of the rounded sum cancels
// (Higham, "Accuracy and stability of numerical algorithms", section 1.14.1).
Tensor softplus_excess(const Tensor& x) {
  const NoGradGuard no_grad;
  const Tensor e = exp(neg(abs(x)));
  const Tensor u = e + 1.0;
  const Tensor d = u - 1.0;
  return where(eq(d, 0), e, log(u) * e / where(eq(d, 0), ones_like(d), d));
}

Tensor softplus(const Tensor& x) {
  const OpScope scope(__func__);
  check_floating(x, "softplus", "x");
  Tensor y;
  {
    const NoGradGuard no_grad;
    const Tensor wide = x.to(compute_dtype(x.dtype()));
    y = (maximum(wide, scalar(0, wide.options())) + softplus_excess(wide)).to(x.dtype());
  }
  return record("softplus", {x}, y, {x}, [](const BackwardContext& c, const Tensor& dy) -> Tensors {
    return {dy * sigmoid(c.saved(0))};
  });
}

Tensor log_sigmoid(const Tensor& x) {
  const OpScope scope(__func__);
  check_floating(x, "log_sigmoid", "x");
  return neg(softplus(neg(x)));
}

}  // namespace plinth
