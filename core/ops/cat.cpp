// Joining tensors, and rearrangements that copy.

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "core/tensor_impl.h"

namespace plinth {

Tensor cat(const Tensors& tensors, int64_t dim) {
  const OpScope scope(__func__);
  check(!tensors.empty(), ErrorKind::Argument, "cat", "got no tensors");
  const int64_t d = wrap_dim(dim, tensors[0].dim(), "cat");
  Shape shape = tensors[0].shape();
  DType dtype = tensors[0].dtype();
  std::vector<int64_t> sizes;
  for (const Tensor& tensor : tensors) {
    Shape expected = tensors[0].shape();
    if (tensor.dim() == expected.dim()) expected[d] = tensor.size(d);
    check_same_device("cat", {&tensors[0], &tensor});
    check(tensor.shape() == expected, ErrorKind::Shape, "cat", "tensor ", sizes.size(),
          " has shape ", tensor.shape(), ", expected ", tensors[0].shape(), " but for dimension ",
          d);
    sizes.push_back(tensor.size(d));
    dtype = promote(dtype, tensor.dtype());
  }
  shape[d] = 0;
  for (int64_t size : sizes) shape[d] += size;
  Tensor out = Tensor::empty(shape, {dtype, tensors[0].device()});
  {
    const NoGradGuard no_grad;
    int64_t start = 0;
    for (const Tensor& tensor : tensors) {
      copy_into(out.narrow(d, start, tensor.size(d)), tensor);
      start += tensor.size(d);
    }
  }
  return record("cat", tensors, out, {}, [sizes, d](const BackwardContext&, const Tensor& dy) {
    return dy.split(sizes, d);
  });
}

Tensor stack(const Tensors& tensors, int64_t dim) {
  const OpScope scope(__func__);
  check(!tensors.empty(), ErrorKind::Argument, "stack", "got no tensors");
  const int64_t d = wrap_dim(dim, tensors[0].dim() + 1, "stack");
  Tensors parts;
  for (const Tensor& tensor : tensors) {
    check(tensor.shape() == tensors[0].shape(), ErrorKind::Shape, "stack", "tensor ", parts.size(),
          " has shape ", tensor.shape(), ", expected ", tensors[0].shape());
    parts.push_back(tensor.unsqueeze(d));
  }
  return cat(parts, d);
}

Tensor repeat_interleave(const Tensor& x, int64_t times, int64_t dim) {
  const OpScope scope(__func__);
  check(times >= 1, ErrorKind::Argument, "repeat_interleave", "times is ", times,
        ", expected at least 1");
  const int64_t d = wrap_dim(dim, x.dim(), "repeat_interleave");
  Shape wide = x.shape();
  wide.insert(d + 1, times);
  return x.unsqueeze(d + 1).expand(wide).flatten(d, d + 1);
}

Tensor pad(const Tensor& x, int64_t dim, int64_t before, int64_t after) {
  const OpScope scope(__func__);
  const int64_t d = wrap_dim(dim, x.dim(), "pad");
  check(before >= 0 && after >= 0, ErrorKind::Argument, "pad", "got ", before, " before and ",
        after, " after, expected at least 0");
  const auto zeros_of = [&](int64_t length) {
    Shape shape = x.shape();
    shape[d] = length;
    return zeros(shape, x.options());
  };
  return cat({zeros_of(before), x, zeros_of(after)}, d);
}

Tensor tril(const Tensor& x, int64_t diagonal) {
  const OpScope scope(__func__);
  check(x.dim() >= 2, ErrorKind::Shape, "tril", "x has shape ", x.shape(),
        ", expected at least two dimensions");
  return where(tril_mask(x.size(-2), x.size(-1), diagonal).to(x.device()), x,
               scalar(0, x.options()));
}

}  // namespace plinth
