#include "kernels/conv/conv_cuda.h"

#include <cstdio>
#include <map>
#include <mutex>

#include "kernels/conv/conv_plain_cuda.h"
#include "kernels/conv/conv_plan.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda {
namespace {

// What was decided for a problem: a plan of cuDNN, or why there is none.
struct Decision {
  std::optional<ConvPlan> plan;
  std::string why;
};

// Once a reason is known, it is told: plain kernels are slow.
const std::string& tell_once(const std::string& why) {
  static std::once_flag told;
  std::call_once(told, [&] {
    std::fprintf(stderr, "plinth: convolutions on the GPU run by slow plain kernels: %s\n",
                 why.c_str());
  });
  return why;
}

// The handle and the plans of one device. They live as long as the program: at its end CUDA may be
// gone before them.
class DevicePlans {
 public:
  const Decision& decision(const ConvProblem& problem) {
    const auto found = decisions_.find(problem);
    if (found != decisions_.end()) return found->second;
    return decisions_.emplace(problem, decide(problem)).first->second;
  }

  void run(void* stream, const ConvPlan& plan, const void* x, const void* weight, const void* y,
           void* workspace) {
    require(dnn::library().set_stream(handle(), stream), "cudnnSetStream");
    execute(handle(), plan, x, weight, y, workspace);
  }

 private:
  Decision decide(const ConvProblem& problem) {
    if (!dnn::library().error.empty())
      return {std::nullopt, tell_once("cuDNN: " + dnn::library().error)};
    try {
      std::optional<ConvPlan> plan = make_conv_plan(handle(), problem);
      const bool found = plan.has_value();
      return {std::move(plan), found
                                   ? "cuDNN has an engine for it"
                                   : "cuDNN has no engine for it that is deterministic and exact"};
    } catch (const DnnError& error) {
      return {std::nullopt, error.what()};
    }
  }

  void* handle() {
    if (handle_ == nullptr) require(dnn::library().create(&handle_), "cudnnCreate");
    return handle_;
  }

  void* handle_ = nullptr;
  std::map<ConvProblem, Decision> decisions_;
};

// Of the current device. Handles and the map are for one thread at a time.
struct LockedPlans {
  LockedPlans() : lock(mutex()), plans(of_device()) {}
  DevicePlans* operator->() const { return &plans; }

 private:
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  static DevicePlans& of_device() {
    static auto* all = new std::map<int, DevicePlans>;
    return (*all)[dnn::library().current_device()];
  }

  std::lock_guard<std::mutex> lock;
  DevicePlans& plans;
};

// Why a problem is not one for cuDNN, whatever it says; empty if it may be.
std::string why_plain(const ConvProblem& problem) {
  const ConvDesc& d = problem.desc;
  if (problem.dtype == DType::Float64) return "float64 is not for cuDNN's engines";
  if (d.batch == 0 || d.in_channels == 0 || d.out_channels == 0) return "there is nothing to sum";
  return "";
}

template <class T>
ConvProblem problem_of(const ConvDesc& desc, ConvPass pass) {
  return {desc, dtype_of<T>, pass};
}

bool is_aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % kConvAlignment == 0;
}

// Runs the pass by cuDNN if it can.
template <class T>
bool run_by_cudnn(void* stream, const ConvDesc& desc, ConvPass pass, const T* x, const T* weight,
                  const T* y, void* workspace) {
  const ConvProblem problem = problem_of<T>(desc, pass);
  if (!why_plain(problem).empty()) return false;
  if (!is_aligned(x) || !is_aligned(weight) || !is_aligned(y)) return false;
  const LockedPlans plans;
  const Decision& decision = plans->decision(problem);
  if (!decision.plan) return false;
  plans->run(stream, *decision.plan, x, weight, y, workspace);
  return true;
}

}  // namespace

template <class T>
ConvPath conv_path(const ConvDesc& desc, ConvPass pass) {
  const ConvProblem problem = problem_of<T>(desc, pass);
  if (std::string why = why_plain(problem); !why.empty()) return {false, std::move(why)};
  const Decision& decision = LockedPlans()->decision(problem);
  return {decision.plan.has_value(), decision.why};
}

template <class T>
size_t conv_workspace(const ConvDesc& desc, ConvPass pass) {
  const ConvProblem problem = problem_of<T>(desc, pass);
  if (!why_plain(problem).empty()) return 0;
  const Decision& decision = LockedPlans()->decision(problem);
  return decision.plan ? static_cast<size_t>(decision.plan->workspace) : 0;
}

template <class T>
void conv_forward(void* stream, const ConvDesc& desc, const T* x, const T* weight, const T* bias,
                  T* y, void* workspace) {
  if (!run_by_cudnn(stream, desc, ConvPass::Forward, x, weight, y, workspace)) {
    plain::conv_forward(stream, desc, x, weight, bias, y);
  } else if (bias != nullptr) {
    plain::conv_add_bias(stream, desc, bias, y);
  }
}

template <class T>
void conv_backward_input(void* stream, const ConvDesc& desc, const T* dy, const T* weight, T* dx,
                         void* workspace) {
  if (!run_by_cudnn(stream, desc, ConvPass::BackwardInput, dx, weight, dy, workspace))
    plain::conv_backward_input(stream, desc, dy, weight, dx);
}

template <class T>
void conv_backward_weight(void* stream, const ConvDesc& desc, const T* dy, const T* x, T* dweight,
                          void* workspace) {
  if (!run_by_cudnn(stream, desc, ConvPass::BackwardWeight, x, dweight, dy, workspace))
    plain::conv_backward_weight(stream, desc, dy, x, dweight);
}

#define INSTANTIATE(T)                                                                         \
  template ConvPath conv_path<T>(const ConvDesc&, ConvPass);                                   \
  template size_t conv_workspace<T>(const ConvDesc&, ConvPass);                                \
  template void conv_forward(void*, const ConvDesc&, const T*, const T*, const T*, T*, void*); \
  template void conv_backward_input(void*, const ConvDesc&, const T*, const T*, T*, void*);    \
  template void conv_backward_weight(void*, const ConvDesc&, const T*, const T*, T*, void*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cuda
