#include "nn/clip.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/autograd.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/optimizer_cuda.h"

namespace plinth::nn {
namespace {

// *out = the sum over the tensors of type T.
template <class T>
void sum_of_squares(const Tensors& tensors, const Tensor& out) {
  std::vector<std::span<const T>> spans;
  for (const Tensor& tensor : tensors) {
    if (tensor.dtype() == dtype_of<T>) {
      spans.emplace_back(tensor.data<T>(), static_cast<size_t>(tensor.numel()));
    }
  }
  if (spans.empty() || is_dry_run()) return;
  const std::span<const std::span<const T>> all(spans);
  if (out.device().is_cpu()) {
    *out.data<double>() = kernels::cpu::sum_of_squares(all);
    return;
  }
#ifdef PLINTH_CUDA_BACKEND
  const auto bytes = static_cast<int64_t>(kernels::cuda::gradient_workspace(all));
  kernels::cuda::sum_of_squares(stream_of(out), all, out.data<double>(),
                                workspace_beside(out, bytes).raw_data());
#endif
}

Tensors gradients_of(const Tensors& parameters) {
  Tensors gradients;
  for (const Tensor& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  return gradients;
}

}  // namespace

Tensor sums_of_squares(const Tensors& tensors) {
  const OpScope scope(__func__);
  const NoGradGuard no_grad;
  for (const Tensor& tensor : tensors) {
    check(is_floating_point(tensor.dtype()) && !is_float8(tensor.dtype()), ErrorKind::DType,
          "global_norm", "got a tensor of dtype ", name(tensor.dtype()),
          ", expected float64, float32, bfloat16 or float16");
    check(tensor.device() == tensors[0].device(), ErrorKind::Device, "global_norm",
          "tensors are on ", tensors[0].device(), " and ", tensor.device(),
          ", expected one device");
    check(tensor.is_contiguous(), ErrorKind::Argument, "global_norm",
          "got a tensor that is not contiguous");
  }
  const Device device = tensors.empty() ? Device{} : tensors[0].device();
  const Tensor sums = zeros({4}, {DType::Float64, device});
  sum_of_squares<double>(tensors, sums[0]);
  sum_of_squares<float>(tensors, sums[1]);
  sum_of_squares<BFloat16>(tensors, sums[2]);
  sum_of_squares<Float16>(tensors, sums[3]);
  return sums;
}

double global_norm(const Tensors& tensors) {
  const OpScope scope(__func__);
  const NoGradGuard no_grad;
  Tensors contiguous;
  for (const Tensor& tensor : tensors) contiguous.push_back(tensor.detach().contiguous());
  const std::vector<double> sums = to_vector(sums_of_squares(contiguous));
  return std::sqrt(sums[0] + sums[1] + sums[2] + sums[3]);
}

int64_t norm_chunk(Device device) {
  return device.is_cpu() ? kernels::cpu::kNormChunk : kernels::cuda::kNormChunk;
}

Tensor chunk_sums_of_squares(const Tensor& tensor) {
  const OpScope scope(__func__);
  check(tensor.is_contiguous(), ErrorKind::Argument, __func__,
        "got a tensor that is not contiguous");
  const int64_t chunk = norm_chunk(tensor.device());
  const Tensor sums =
      zeros({(tensor.numel() + chunk - 1) / chunk}, {DType::Float64, tensor.device()});
  dispatch_floating(tensor.dtype(), __func__, [&]<class T>() {
    const std::span<const T> elements(tensor.data<T>(), static_cast<size_t>(tensor.numel()));
    PLINTH_RUN(tensor, chunk_sums_of_squares, elements, sums.data<double>());
  });
  return sums;
}

double sum_of_chunks(const Tensor& sums) {
  const NoGradGuard no_grad;
  check(sums.dtype() == DType::Float64 && sums.is_contiguous(), ErrorKind::DType, __func__, "got ",
        name(sums.dtype()), ", takes contiguous float64");
  if (sums.device().is_cpu())
    return kernels::cpu::sum_of_chunks({sums.data<double>(), static_cast<size_t>(sums.numel())});
  const Tensor total = zeros({}, sums.options());
#ifdef PLINTH_CUDA_BACKEND
  kernels::cuda::sum_of_chunks(stream_of(total), sums.data<double>(), sums.numel(),
                               total.data<double>());
#endif
  return total.item();
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
