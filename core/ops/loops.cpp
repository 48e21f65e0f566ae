#include "core/ops/loops.h"
#include "core/cuda/graph.h"
#include "core/dry_run.h"
#include "core/ops/on_device.h"

#include "core/ops/elementwise.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_cuda.h"
#include "kernels/optimizer/optimizer_cuda.h"

namespace plinth {

void detail::unsupported_dtype(std::string_view op, DType dtype, std::string_view takes) {
  throw Error(ErrorKind::DType, op, concat("got dtype ", name(dtype), ", takes ", takes));
}

Shape broadcast_strides(const Tensor& x, const Shape& shape) {
  Shape strides = Shape::filled(shape.dim(), 0);
  const int64_t missing = shape.dim() - x.dim();
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (x.size(d) != 1) strides[missing + d] = x.strides()[d];
  }
  return strides;
}

void transfer(const Tensor& out, const Tensor& x) {
  const bool from_gpu = x.device().is_cuda();
  const Stream stream = current_stream(from_gpu ? x.device() : out.device());
  cuda::refuse_capture(
      stream, from_gpu ? "copies from the device to the CPU" : "copies from the CPU to the device");
  cuda::copy(out.raw_data(), x.raw_data(), static_cast<size_t>(x.numel()) * size_of(x.dtype()),
             stream);
  // The CPU reads its memory without asking, and may free it.
  if (from_gpu) synchronize(stream);
}

void copy_into(const Tensor& out, const Tensor& x) {
  if (out.numel() == 0) return;
  if (out.device() != x.device()) return copy_into(out, x.detach().to(out.device()));
  const auto loop = loop_over(out, x);
  dispatch_all(x.dtype(), [&]<class From>() {
    dispatch_all(out.dtype(), [&]<class To>() {
      if (is_dry_run() && out.numel() == 1) {
        kernels::cpu::copy(loop, x.data<From>(), out.data<To>());
      } else {
        PLINTH_RUN(x, copy, loop, x.data<From>(), out.data<To>());
      }
    });
  });
}

void copy_parameters_into(const Tensors& out, const Tensors& x) {
  if (out.empty()) return;
  const auto run = [&]<class To>() {
    std::vector<kernels::cpu::ParameterCopy<To>> copies;
    for (size_t i = 0; i < out.size(); ++i)
      copies.push_back({out[i].numel(), x[i].data<float>(), out[i].data<To>()});
    PLINTH_RUN(out[0], copy_parameters<To>, copies);
  };
  out[0].dtype() == DType::BFloat16 ? run.operator()<BFloat16>() : run.operator()<Float16>();
}

void add_into(const Tensor& out, const Tensor& x, const Tensor& y, double alpha,
              std::string_view op) {
  const auto loop = loop_over(out, x, y);
  const auto run = [&]<class T, class Y>() {
    PLINTH_RUN(out, add_scaled, loop, x.data<T>(), y.data<Y>(), alpha, out.data<T>());
  };
  if (y.dtype() == x.dtype()) {
    dispatch_numeric(x.dtype(), op, [&]<class T>() { run.template operator()<T, T>(); });
  } else if (y.dtype() == DType::BFloat16) {
    run.operator()<float, BFloat16>();
  } else {
    run.operator()<float, Float16>();
  }
}

}  // namespace plinth
