#include <limits>
#include <span>
#include <vector>

#include "kernels/c_api/call.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/optimizer_cuda.h"

using namespace plinth::kernels;
using namespace plinth::kernels::c_api;

namespace {

using Options = plinth_optimizer_options;
using Tensor = plinth_optimizer_tensor;

void check_within(const char* name, double value, double low, double below) {
  require(value >= low && value < below, std::string(name) + " is " + std::to_string(value) +
                                             ", takes " + std::to_string(low) + " to below " +
                                             std::to_string(below));
}

// What the optimizers take alike.
const Options& checked(const Options* pointer, plinth_dtype parameter_dtype) {
  constexpr double kFinite = std::numeric_limits<double>::infinity();
  const Options& options = given(pointer, "options");
  check_within("lr", options.lr, 0, kFinite);
  check_within("beta1", options.beta1, 0, 1);
  check_within("weight_decay", options.weight_decay, 0, kFinite);
  require(!options.stochastic_rounding || parameter_dtype == PLINTH_BFLOAT16,
          "stochastic_rounding is on, takes bfloat16 parameters");
  return options;
}

cpu::StochasticRounding rounding_of(const Options& options) {
  return {.enabled = options.stochastic_rounding != 0, .key = key_of(options.rounding)};
}

// Which states an optimizer reads and writes.
struct States {
  bool first, second;
};

template <class P, class G>
std::vector<cpu::OptimizerTensor<P, G>> list_of(int64_t count, const Tensor* tensors,
                                                States states) {
  using C = plinth::compute_t<P>;
  std::vector<cpu::OptimizerTensor<P, G>> list;
  for (int64_t i = 0; i < count; ++i) {
    const Tensor& t = tensors[i];
    product({{"n", t.n}});
    check_pointers(t.n, sizeof(P), {{"parameter", t.parameter}});
    check_pointers(t.n, sizeof(G), {{"gradient", t.gradient}});
    check_pointers(states.first ? t.n : 0, sizeof(C), {{"exp_avg", t.exp_avg}});
    check_pointers(states.second ? t.n : 0, sizeof(C), {{"exp_avg_sq", t.exp_avg_sq}});
    check_optional(sizeof(C), {{"master", t.master}});
    list.push_back({t.n, out<P>(t.parameter), in<G>(t.gradient), out<C>(t.exp_avg),
                    out<C>(t.exp_avg_sq), out<C>(t.master)});
  }
  return list;
}

// Calls f(list) with the tensors in the types of the dtypes.
template <class F>
void with_tensors(plinth_dtype parameter_dtype, plinth_dtype gradient_dtype, int64_t count,
                  const Tensor* tensors, States states, F&& f) {
  product({{"count", count}});
  require(count == 0 || tensors != nullptr, "tensors is null");
  with_floating(parameter_dtype, [&]<class P>() {
    const auto with_gradient = [&]<class G>() {
      const auto list = list_of<P, G>(count, tensors, states);
      if (!list.empty()) f(cpu::OptimizerTensors<P, G>(list));
    };
    if (gradient_dtype == parameter_dtype) return with_gradient.template operator()<P>();
    if constexpr (sizeof(P) == 2) {
      if (gradient_dtype == PLINTH_FLOAT32) return with_gradient.template operator()<float>();
    }
    refuse_dtype(gradient_dtype, "that of the parameters, or float32 beside 16-bit ones");
  });
}

template <class G>
std::vector<std::span<const G>> spans_of(int64_t count, const void* const* tensors,
                                         const int64_t* sizes) {
  std::vector<std::span<const G>> spans;
  for (int64_t i = 0; i < count; ++i) {
    product({{"sizes", sizes[i]}});
    check_pointers(sizes[i], sizeof(G), {{"a tensor", tensors[i]}});
    spans.emplace_back(in<G>(tensors[i]), static_cast<size_t>(sizes[i]));
  }
  return spans;
}

// Calls f(spans) with the list in the type of the dtype.
template <class F>
void with_spans(plinth_dtype dtype, int64_t count, const void* const* tensors, const int64_t* sizes,
                F&& f) {
  product({{"count", count}});
  require(count == 0 || (tensors != nullptr && sizes != nullptr), "tensors or sizes is null");
  with_floating(dtype, [&]<class G>() {
    const auto spans = spans_of<G>(count, tensors, sizes);
    f(std::span<const std::span<const G>>(spans));
  });
}

}  // namespace

plinth_status plinth_adamw_step(plinth_device device, void* stream, plinth_dtype parameter_dtype,
                                plinth_dtype gradient_dtype, int64_t count, const Tensor* tensors,
                                const Options* options) {
  return guarded(__func__, device, [&] {
    const Options& o = checked(options, parameter_dtype);
    check_within("beta2", o.beta2, 0, 1);
    check_within("eps", o.eps, 0, std::numeric_limits<double>::infinity());
    require(o.step >= 1, "step is " + std::to_string(o.step) + ", takes 1 or more");
    const cpu::AdamWOptions adamw{.lr = o.lr,
                                  .beta1 = o.beta1,
                                  .beta2 = o.beta2,
                                  .eps = o.eps,
                                  .weight_decay = o.weight_decay,
                                  .step = o.step,
                                  .grad_scale = o.grad_scale,
                                  .rounding = rounding_of(o)};
    with_tensors(parameter_dtype, gradient_dtype, count, tensors, {true, true},
                 [&](auto list) { PLINTH_CALL(adamw_step, list, adamw); });
  });
}

plinth_status plinth_lion_step(plinth_device device, void* stream, plinth_dtype parameter_dtype,
                               plinth_dtype gradient_dtype, int64_t count, const Tensor* tensors,
                               const Options* options) {
  return guarded(__func__, device, [&] {
    const Options& o = checked(options, parameter_dtype);
    check_within("beta2", o.beta2, 0, 1);
    const cpu::LionOptions lion{.lr = o.lr,
                                .beta1 = o.beta1,
                                .beta2 = o.beta2,
                                .weight_decay = o.weight_decay,
                                .grad_scale = o.grad_scale,
                                .rounding = rounding_of(o)};
    with_tensors(parameter_dtype, gradient_dtype, count, tensors, {true, false},
                 [&](auto list) { PLINTH_CALL(lion_step, list, lion); });
  });
}

plinth_status plinth_sgd_step(plinth_device device, void* stream, plinth_dtype parameter_dtype,
                              plinth_dtype gradient_dtype, int64_t count, const Tensor* tensors,
                              const Options* options) {
  return guarded(__func__, device, [&] {
    const Options& o = checked(options, parameter_dtype);
    const cpu::SgdOptions sgd{.lr = o.lr,
                              .momentum = o.beta1,
                              .nesterov = o.nesterov != 0,
                              .weight_decay = o.weight_decay,
                              .grad_scale = o.grad_scale,
                              .rounding = rounding_of(o)};
    with_tensors(parameter_dtype, gradient_dtype, count, tensors, {o.beta1 != 0, false},
                 [&](auto list) { PLINTH_CALL(sgd_step, list, sgd); });
  });
}

plinth_status plinth_global_norm_workspace(plinth_device device, plinth_dtype dtype, int64_t count,
                                           const void* const* tensors, const int64_t* sizes,
                                           size_t* bytes) {
  return guarded(__func__, device, [&] {
    check_pointers(1, sizeof *bytes, {{"bytes", bytes}});
    with_spans(dtype, count, tensors, sizes,
               [&](auto spans) { *bytes = PLINTH_BYTES(gradient_workspace, spans); });
  });
}

plinth_status plinth_global_norm(plinth_device device, void* stream, plinth_dtype dtype,
                                 int64_t count, const void* const* tensors, const int64_t* sizes,
                                 double* out, void* workspace, size_t workspace_bytes) {
  return guarded(__func__, device, [&] {
    check_pointers(1, sizeof *out, {{"out", out}});
    with_spans(dtype, count, tensors, sizes, [&](auto spans) {
      check_workspace(workspace, workspace_bytes, PLINTH_BYTES(gradient_workspace, spans));
      if (device == PLINTH_CPU) {
        *out = cpu::global_norm(spans);
        return;
      }
#ifdef PLINTH_CUDA_BACKEND
      cuda::global_norm(stream, spans, out, workspace);
#else
      static_cast<void>(stream);
#endif
    });
  });
}
