#include "kernels/attention/attention_cuda.h"

#include <cstdio>
#include <mutex>
#include <set>

#include "kernels/attention/custom_kernels.h"
#include "kernels/attention/decode/decode.h"
#include "kernels/attention/hopper/hopper.h"
#include "kernels/attention/plain/plain.h"
#include "kernels/attention/tensor_core/tensor_core.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda {

const char* name_of(AttentionKernel kernel) {
  switch (kernel) {
    case AttentionKernel::Plain: return "plain";
    case AttentionKernel::TensorCore: return "tensor_core";
    case AttentionKernel::Hopper: return "hopper";
    case AttentionKernel::Decode: return "decode";
  }
  return "unknown";
}

namespace {

constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

template <class T>
size_t delta_bytes(const AttentionDesc& d) {
  return aligned(static_cast<size_t>(d.batch * d.heads * d.q_len) * sizeof(compute_t<T>));
}

// Those of the description's functor, or the library's own.
template <class T>
AttentionKernels<T> kernels_of(const AttentionDesc& d) {
  if (d.custom) return std::get<AttentionKernels<T>>(d.custom->on_cuda->of);
  AttentionKernels<T> own;
  if constexpr (sizeof(T) == 2) {
    own.hopper_forward = attention::hopper_forward<T>;
    own.hopper_backward = attention::hopper_backward<T>;
    own.tensor_core_forward = attention::tensor_core_forward<T>;
    own.tensor_core_backward = attention::tensor_core_backward<T>;
  }
  own.plain_forward = attention::plain_forward<T>;
  own.plain_backward = attention::plain_backward<T>;
  own.bias_gradient = attention::bias_gradient<T>;
  return own;
}

// Why hopper/ does not take a call with a functor, which it takes without one; null if it does.
const char* functor_obstacle(const AttentionDesc& d, bool backward) {
  if (!d.custom) return nullptr;
  if (!d.custom->on_cuda->has_hopper_code()) return "the functor is not compiled for sm_90a";
  if (backward && d.head_dim > 128) return "a functor's gradients there have a head_dim up to 128";
  return nullptr;
}

bool has_wgmma() {
  return device::device_limits().capability == 90;
}

// The forward pass reads q, k, v and writes out; the backward pass reads these and more.
template <class T>
AttentionPath path_of(const AttentionDesc& d, bool backward, const attention::Gradients<T>& x) {
  AttentionPath path;
  if constexpr (sizeof(T) == 2) {
    const char* obstacle = backward ? attention::hopper_backward_obstacle(d, x)
                                    : attention::hopper_obstacle(d, x.q, x.k, x.v, x.out);
    if (obstacle == nullptr) obstacle = functor_obstacle(d, backward);
    if (!has_wgmma()) obstacle = "the GPU has no wgmma of sm_90a";
    if (obstacle == nullptr) return {AttentionKernel::Hopper, "the fastest here"};
    path = {AttentionKernel::TensorCore, obstacle};
    if (device::device_limits().capability < 80) {
      return {AttentionKernel::Plain, "the GPU has no mma of bfloat16 (sm_80)"};
    }
  }
  std::string why;
  const std::initializer_list<const void*> all = {x.q, x.k, x.v, x.out, x.dout, x.dq, x.dk, x.dv};
  if (!attention::tensor_core_takes<T>(d, backward, all, &why))
    return {AttentionKernel::Plain, why};
  return path;
}

// What a call of a 16-bit type takes in place of the GPU's fastest kernel; null if it takes that.
const char* slow_kernel(const AttentionPath& path) {
  if (path.kernel == AttentionKernel::Plain)
    return "a plain kernel, which is many times slower than one on tensor cores";
  if (path.kernel == AttentionKernel::TensorCore && has_wgmma())
    return "a kernel of mma.sync, which is slower than one of wgmma";
  return nullptr;
}

// A slow path is not taken in silence: the first call for a reason says so.
void tell_once(const AttentionPath& path, const AttentionDesc& d) {
  const char* const slow = slow_kernel(path);
  if (slow == nullptr || attention::nothing_to_do(d)) return;
  const std::string line = std::string(slow) + ": " + path.why;
  static std::mutex mutex;
  static std::set<std::string> told;
  const std::lock_guard lock(mutex);
  if (!told.insert(line).second) return;
  std::fprintf(stderr, "plinth: attention on the GPU takes %s\n", line.c_str());
}

}  // namespace

template <class T>
AttentionPath attention_path(const AttentionDesc& d, bool backward) {
  if (!backward && attention::decode_takes<T>(d))
    return {AttentionKernel::Decode, "few queries: the time is that of reading k and v once"};
  return path_of<T>(d, backward, {});
}

template <class T>
void attention_forward(void* stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                       T* out, compute_t<T>* lse, void* workspace) {
  const auto s = static_cast<device::Stream>(stream);
  if (attention::decode_takes<T>(d, k, v, workspace))
    return attention::decode_forward<T>(s, d, q, k, v, out, lse, workspace);
  const AttentionPath path = path_of<T>(
      d, false,
      {.dout = nullptr, .q = q, .k = k, .v = v, .out = out, .dq = {}, .dk = {}, .dv = {}});
  if constexpr (sizeof(T) == 2) tell_once(path, d);
  const AttentionKernels<T> kernels = kernels_of<T>(d);
  if (path.kernel == AttentionKernel::Hopper)
    return kernels.hopper_forward(s, d, q, k, v, out, lse, workspace);
  auto* const forward = path.kernel == AttentionKernel::TensorCore ? kernels.tensor_core_forward
                                                                   : kernels.plain_forward;
  forward(s, d, q, k, v, out, lse);
}

template <class T>
size_t attention_forward_workspace(const AttentionDesc& d) {
  if (attention::decode_takes<T>(d)) return attention::decode_workspace<T>(d);
  if constexpr (sizeof(T) == 2) {
    if (path_of<T>(d, false, {}).kernel == AttentionKernel::Hopper)
      return attention::hopper_forward_workspace(d);
  }
  return 0;
}

template <class T>
size_t attention_backward_workspace(const AttentionDesc& d) {
  size_t bytes = delta_bytes<T>(d);
  if constexpr (sizeof(T) == 2) {
    if (path_of<T>(d, true, {}).kernel == AttentionKernel::Hopper)
      bytes += attention::hopper_backward_workspace<T>(d);
  }
  return bytes;
}

template <class T>
void attention_backward(void* stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
                        const T* v, const T* out, const compute_t<T>* lse, T* dq, T* dk, T* dv,
                        void* workspace) {
  const auto s = static_cast<device::Stream>(stream);
  auto* const delta = static_cast<compute_t<T>*>(workspace);
  const attention::Gradients<T> operands{dout, q, k, v, out, dq, dk, dv};
  const AttentionPath path = path_of<T>(d, true, operands);
  if (path.kernel != AttentionKernel::Hopper || d.dbias || d.dsinks)
    attention::row_deltas<T>(s, d, dout, out, delta);
  if constexpr (sizeof(T) == 2) tell_once(path, d);
  const AttentionKernels<T> kernels = kernels_of<T>(d);
  if (path.kernel == AttentionKernel::Hopper) {
    kernels.hopper_backward(s, d, operands, lse,
                            static_cast<std::byte*>(workspace) + delta_bytes<T>(d));
  } else {
    auto* const backward = path.kernel == AttentionKernel::TensorCore ? kernels.tensor_core_backward
                                                                      : kernels.plain_backward;
    backward(s, d, dout, q, k, v, lse, delta, dq, dk, dv);
  }
  if (d.dbias) kernels.bias_gradient(s, d, dout, q, k, v, lse, delta);
  if (d.dsinks) attention::sink_gradient<compute_t<T>>(s, d, lse, delta);
}

template <class T>
bool custom_has_type(const cpu::CustomScore& custom) {
  return std::get<AttentionKernels<T>>(custom.on_cuda->of).plain_forward != nullptr;
}
bool custom_has_head_dim(const cpu::CustomScore& custom, int64_t head_dim) {
  return custom.on_cuda->takes_head_dim(head_dim);
}
void make_block_map(void* stream, const AttentionDesc& d, const cpu::CustomScore& custom,
                    cpu::BlockSight* blocks) {
  custom.on_cuda->block_map(static_cast<device::Stream>(stream), d, custom, blocks);
}

#define PLINTH_INSTANTIATE(T)                                                                    \
  template AttentionPath attention_path<T>(const AttentionDesc&, bool);                          \
  template void attention_forward<T>(void*, const AttentionDesc&, const T*, const T*, const T*,  \
                                     T*, compute_t<T>*, void*);                                  \
  template bool custom_has_type<T>(const cpu::CustomScore&);                                     \
  template size_t attention_forward_workspace<T>(const AttentionDesc&);                          \
  template size_t attention_backward_workspace<T>(const AttentionDesc&);                         \
  template void attention_backward<T>(void*, const AttentionDesc&, const T*, const T*, const T*, \
                                      const T*, const T*, const compute_t<T>*, T*, T*, T*, void*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
