#pragma once

// From an optimizer's bucket to the kernels' lists of raw tensors. Only nn/optim includes this.

#include <vector>

#include "core/error.h"
#include "core/ops/on_device.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/optimizer_cuda.h"
#include "nn/optim/optimizer.h"

namespace plinth::nn {

// A bucket's slots with their gradients made contiguous.
struct StepTensors {
  DType parameter_dtype, gradient_dtype;
  Tensors parameters, gradients, first, second, masters;  // undefined where there is none
};

namespace detail {

template <class T>
T* pointer(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<T>() : nullptr;
}

template <class P, class G, class F>
void with_list(const StepTensors& tensors, F&& f) {
  using C = compute_t<P>;
  std::vector<kernels::cpu::OptimizerTensor<P, G>> list;
  for (size_t i = 0; i < tensors.parameters.size(); ++i) {
    list.push_back({tensors.parameters[i].numel(), tensors.parameters[i].data<P>(),
                    tensors.gradients[i].data<G>(), pointer<C>(tensors.first[i]),
                    pointer<C>(tensors.second[i]), pointer<C>(tensors.masters[i])});
  }
  f.template operator()<P, G>(kernels::cpu::OptimizerTensors<P, G>(list));
}

template <class P, class F>
void with_narrow(const StepTensors& tensors, F&& f) {
  if (tensors.gradient_dtype == DType::Float32) {
    with_list<P, float>(tensors, f);
  } else {
    with_list<P, P>(tensors, f);
  }
}

}  // namespace detail

// Calls f.operator()<P, G>(OptimizerTensors<P, G>) for the dtypes of the bucket.
template <class F>
void for_step(const StepTensors& tensors, F&& f) {
  switch (tensors.parameter_dtype) {
    case DType::Float64: return detail::with_list<double, double>(tensors, f);
    case DType::Float32: return detail::with_list<float, float>(tensors, f);
    case DType::BFloat16: return detail::with_narrow<BFloat16>(tensors, f);
    default: return detail::with_narrow<Float16>(tensors, f);
  }
}

// The slots of a bucket; state 0 is the first moment, state 1 the second.
template <class Slots>
StepTensors step_tensors(DType parameter_dtype, DType gradient_dtype, const Slots& slots) {
  StepTensors tensors{parameter_dtype, gradient_dtype, {}, {}, {}, {}, {}};
  for (const auto* slot : slots) {
    const Device expected = (*slots.begin())->parameter.device();
    check(slot->parameter.device() == expected, ErrorKind::Device, "optimizer",
          "parameters of one group are on ", expected, " and ", slot->parameter.device(),
          ", expected one device");
    tensors.parameters.push_back(slot->parameter);
    tensors.gradients.push_back(slot->parameter.grad().contiguous());
    tensors.first.push_back(slot->state.size() > 0 ? slot->state[0] : Tensor());
    tensors.second.push_back(slot->state.size() > 1 ? slot->state[1] : Tensor());
    tensors.masters.push_back(slot->master);
  }
  return tensors;
}

// What the options say of one step, for the device memory from which a GPU's kernel reads it.
template <class Options>
kernels::cuda::OptimizerScalars device_scalars(const Options& options) {
#ifdef PLINTH_CUDA_BACKEND
  return kernels::cuda::scalars_of(options);
#else
  static_cast<void>(options);
  return {};
#endif
}

// Keyed by the step and the bucket's number in it; a tensor's own number is its sample.
inline kernels::cpu::StochasticRounding rounding_of(NarrowUpdate narrow, uint64_t seed,
                                                    int64_t step, uint32_t bucket) {
  return {.enabled = narrow == NarrowUpdate::Stochastic,
          .key = {.seed = seed, .step = static_cast<uint64_t>(step), .op = bucket}};
}

}  // namespace plinth::nn

// PLINTH_RUN for the step of an optimizer: on a GPU the kernel takes `inputs` too.
#ifdef PLINTH_CUDA_BACKEND
#define PLINTH_RUN_STEP(x, inputs, kernel, ...)                                         \
  (::plinth::is_dry_run() ? static_cast<void>(0)                                        \
   : (x).device().is_cpu()                                                              \
       ? ::plinth::kernels::cpu::kernel(__VA_ARGS__)                                    \
       : (::plinth::kernels::cuda::kernel(::plinth::stream_of(x), __VA_ARGS__, inputs), \
          ::plinth::check_launches()))
#else
#define PLINTH_RUN_STEP(x, inputs, kernel, ...) \
  (static_cast<void>(inputs), PLINTH_RUN(x, kernel, __VA_ARGS__))
#endif
