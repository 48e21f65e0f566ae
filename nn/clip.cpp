#include "nn/clip.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "core/ops/on_device.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/optimizer_cuda.h"

namespace plinth::nn {
namespace {

template <class T>
double on_gpu(std::span<const std::span<const T>> spans, const Tensor& beside) {
  const Tensor sum = zeros({}, {DType::Float64, beside.device()});
#ifdef PLINTH_CUDA_BACKEND
  const auto bytes = static_cast<int64_t>(kernels::cuda::gradient_workspace(spans));
  kernels::cuda::sum_of_squares(stream_of(beside), spans, sum.data<double>(),
                                workspace_beside(beside, bytes).raw_data());
#else
  static_cast<void>(spans);
#endif
  return sum.item();
}

// Of the tensors of type T.
template <class T>
double sum_of_squares(const Tensors& tensors) {
  std::vector<std::span<const T>> spans;
  for (const Tensor& tensor : tensors) {
    if (tensor.dtype() == dtype_of<T>) {
      spans.emplace_back(tensor.data<T>(), static_cast<size_t>(tensor.numel()));
    }
  }
  const std::span<const std::span<const T>> all(spans);
  if (tensors.empty() || tensors[0].device().is_cpu()) return kernels::cpu::sum_of_squares(all);
  return on_gpu(all, tensors[0]);
}

Tensors gradients_of(const Tensors& parameters) {
  Tensors gradients;
  for (const Tensor& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  return gradients;
}

}  // namespace

double global_norm(const Tensors& tensors) {
  const OpScope scope(__func__);
  const NoGradGuard no_grad;
  Tensors contiguous;
  for (const Tensor& tensor : tensors) {
    check(is_floating_point(tensor.dtype()) && !is_float8(tensor.dtype()), ErrorKind::DType,
          "global_norm", "got a tensor of dtype ", name(tensor.dtype()),
          ", expected float64, float32, bfloat16 or float16");
    check(tensor.device() == tensors[0].device(), ErrorKind::Device, "global_norm",
          "tensors are on ", tensors[0].device(), " and ", tensor.device(),
          ", expected one device");
    contiguous.push_back(tensor.detach().contiguous());
  }
  return std::sqrt(sum_of_squares<double>(contiguous) + sum_of_squares<float>(contiguous) +
                   sum_of_squares<BFloat16>(contiguous) + sum_of_squares<Float16>(contiguous));
}

double grad_norm(const Tensors& parameters) {
  return global_norm(gradients_of(parameters));
}

double clip_factor(double norm, double max_norm) {
  check(max_norm >= 0, ErrorKind::Argument, "clip_factor", "max_norm is ", max_norm,
        ", expected at least 0");
  if (max_norm == 0 || !std::isfinite(norm)) return 1;
  return std::min(1.0, max_norm / (norm + 1e-6));
}

double clip_grad_norm(const Tensors& parameters, double max_norm) {
  const NoGradGuard no_grad;
  const double norm = grad_norm(parameters), factor = clip_factor(norm, max_norm);
  if (factor < 1) {
    for (Tensor& gradient : gradients_of(parameters)) gradient.mul_(factor);
  }
  return norm;
}

std::string first_nonfinite_gradient(const std::vector<NamedTensor>& parameters) {
  for (const auto& [name, parameter] : parameters) {
    // In float64 no sum of squares of finite narrower elements overflows.
    const Tensor gradient = parameter.grad();
    if (gradient.defined() && !std::isfinite(global_norm({gradient}))) return name;
  }
  return "";
}

}  // namespace plinth::nn
