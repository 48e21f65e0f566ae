#include "core/ops/dropout.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/random.h"
#include "kernels/dropout/dropout.h"
#include "kernels/dropout/dropout_cuda.h"

namespace plinth {
namespace {

// Linear in x: the gradient is the same function of dy.
Tensor masked(const Tensor& x, double p, const kernels::PhiloxKey& key,
              const kernels::DropoutPart& part) {
  const Tensor from = plain(x);
  Tensor out = Tensor::empty(x.shape(), x.options());
  const int64_t samples = x.dim() > 0 ? x.size(0) : 1;
  const int64_t elements = samples > 0 ? x.numel() / samples : 0;
  dispatch_floating(x.dtype(), "dropout", [&]<class T>() {
    PLINTH_RUN(from, dropout_forward, samples, elements, p, key, from.data<T>(), out.data<T>(),
               part);
  });
  return record("dropout", {x}, out, {},
                [p, key, part](const BackwardContext&, const Tensor& dy) -> Tensors {
                  return {masked(dy, p, key, part)};
                });
}

}  // namespace

Tensor dropout(const Tensor& x, double p, const kernels::DropoutPart& part) {
  const OpScope scope(__func__);
  check_floating(x, "dropout", "x");
  check(p >= 0 && p <= 1, ErrorKind::Argument, "dropout", "p is ", p, ", expected within [0, 1]");
  if (p == 0) return x;
  const kernels::PhiloxKey key = generator().next();
  check(!key.place || x.device().is_cuda(), ErrorKind::Device, "dropout", "x is on ", x.device(),
        ", but the step's random numbers are a GPU's");
  return masked(x, p, key, part);
}

}  // namespace plinth
