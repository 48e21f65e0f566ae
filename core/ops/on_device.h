#pragma once

// The choice of a kernel by the device of its tensors: the only place where core makes it. Only
// core/ops and nn include this.

#include "core/cuda/runtime.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/stream.h"
#include "core/tensor.h"
#include "kernels/device/launch_failure.h"

namespace plinth {

// The stream of this thread's work on a CUDA device, as kernels take it.
inline void* stream_of(const Tensor& x) {
  return current_stream(x.device()).handle;
}

// Throws Error(Cuda) if a kernel of this thread could not be started since the last call.
inline void check_launches() {
  const device::LaunchFailure failure = device::take_launch_failure();
  check(!failure.kernel, ErrorKind::Cuda, current_scope(), "kernel ", failure.kernel,
        " did not start: ", failure.error);
}

// `bytes` of device memory for a kernel on x's stream to write before it reads. It may be dropped
// as soon as the kernel is launched, since memory is reused in the stream's order.
inline Tensor workspace_beside(const Tensor& x, int64_t bytes) {
  return Tensor::empty({bytes}, {DType::UInt8, x.device()});
}

}  // namespace plinth

// PLINTH_RUN: kernels::cpu::kernel(arguments...), or kernels::cuda::kernel(stream, arguments...)
// where x is on a GPU. PLINTH_RUN_WITH: the same for a GPU kernel whose last argument is a
// workspace, of kernels::cuda::`bytes` bytes. Nothing in a dry run (core/dry_run.h): kernels give
// nothing back.
#ifdef PLINTH_CUDA_BACKEND
#define PLINTH_RUN(x, kernel, ...)                                              \
  (::plinth::is_dry_run() ? static_cast<void>(0)                                \
   : (x).device().is_cpu()                                                      \
       ? ::plinth::kernels::cpu::kernel(__VA_ARGS__)                            \
       : (::plinth::kernels::cuda::kernel(::plinth::stream_of(x), __VA_ARGS__), \
          ::plinth::check_launches()))
#define PLINTH_RUN_WITH(x, bytes, kernel, ...)                                                    \
  (::plinth::is_dry_run() ? static_cast<void>(0)                                                  \
   : (x).device().is_cpu()                                                                        \
       ? ::plinth::kernels::cpu::kernel(__VA_ARGS__)                                              \
       : (::plinth::kernels::cuda::kernel(                                                        \
              ::plinth::stream_of(x), __VA_ARGS__,                                                \
              ::plinth::workspace_beside(x, static_cast<int64_t>(::plinth::kernels::cuda::bytes)) \
                  .raw_data()),                                                                   \
          ::plinth::check_launches()))
#else
#define PLINTH_RUN(x, kernel, ...) \
  (static_cast<void>(x),           \
   ::plinth::is_dry_run() ? static_cast<void>(0) : ::plinth::kernels::cpu::kernel(__VA_ARGS__))
#define PLINTH_RUN_WITH(x, bytes, kernel, ...) PLINTH_RUN(x, kernel, __VA_ARGS__)
#endif
