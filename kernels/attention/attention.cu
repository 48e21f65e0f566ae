#include "kernels/attention/attention_cuda.h"

#include <cstdio>
#include <mutex>
#include <set>

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

// The forward pass reads q, k, v and writes out; the backward pass reads these and more.
template <class T>
AttentionPath path_of(const AttentionDesc& d, bool backward, const attention::Gradients<T>& x) {
  AttentionPath path;
  if constexpr (sizeof(T) == 2) {
    const int capability = device::device_limits().capability;
    const char* obstacle = backward ? attention::hopper_backward_obstacle(d, x)
                                    : attention::hopper_obstacle(d, x.q, x.k, x.v, x.out);
    if (capability != 90) obstacle = "the GPU has no wgmma of sm_90a";
    if (obstacle == nullptr) return {AttentionKernel::Hopper, "the fastest here"};
    path = {AttentionKernel::TensorCore, obstacle};
    if (capability < 80) {
      return {AttentionKernel::Plain, "the GPU has no mma of bfloat16 (sm_80)"};
    }
  }
  std::string why;
  const std::initializer_list<const void*> all = {x.q, x.k, x.v, x.out, x.dout, x.dq, x.dk, x.dv};
  if (!attention::tensor_core_takes<T>(d, backward, all, &why))
    return {AttentionKernel::Plain, why};
  return path;
}

// A slow path is not taken in silence: the first call for a reason says so.
void tell_once(const AttentionPath& path, int64_t queries) {
  if (path.kernel != AttentionKernel::Plain || queries == 0) return;
  static std::mutex mutex;
  static std::set<std::string> told;
  const std::lock_guard lock(mutex);
  if (!told.insert(path.why).second) return;
  std::fprintf(stderr,
               "plinth: attention on the GPU takes a plain kernel, which is many times slower than "
               "one on tensor cores: %s\n",
               path.why.c_str());
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
  if constexpr (sizeof(T) == 2) {
    tell_once(path, d.q_len);
    if (path.kernel == AttentionKernel::Hopper)
      return attention::hopper_forward<T>(s, d, q, k, v, out, lse);
    if (path.kernel == AttentionKernel::TensorCore)
      return attention::tensor_core_forward<T>(s, d, q, k, v, out, lse);
  }
  attention::plain_forward<T>(s, d, q, k, v, out, lse);
}

template <class T>
size_t attention_forward_workspace(const AttentionDesc& d) {
  return attention::decode_takes<T>(d) ? attention::decode_workspace<T>(d) : 0;
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
  if constexpr (sizeof(T) == 2) {
    tell_once(path, d.q_len);
    if (path.kernel == AttentionKernel::Hopper) {
      attention::hopper_backward<T>(s, d, operands, lse,
                                    static_cast<std::byte*>(workspace) + delta_bytes<T>(d));
    } else if (path.kernel == AttentionKernel::TensorCore) {
      attention::tensor_core_backward<T>(s, d, dout, q, k, v, lse, delta, dq, dk, dv);
    }
  }
  if (path.kernel == AttentionKernel::Plain)
    attention::plain_backward<T>(s, d, dout, q, k, v, lse, delta, dq, dk, dv);
  if (d.dbias) attention::bias_gradient<T>(s, d, dout, q, k, v, lse, delta);
  if (d.dsinks) attention::sink_gradient<compute_t<T>>(s, d, lse, delta);
}

#define PLINTH_INSTANTIATE(T)                                                                    \
  template AttentionPath attention_path<T>(const AttentionDesc&, bool);                          \
  template void attention_forward<T>(void*, const AttentionDesc&, const T*, const T*, const T*,  \
                                     T*, compute_t<T>*, void*);                                  \
  template size_t attention_forward_workspace<T>(const AttentionDesc&);                          \
  template size_t attention_backward_workspace<T>(const AttentionDesc&);                         \
  template void attention_backward<T>(void*, const AttentionDesc&, const T*, const T*, const T*, \
                                      const T*, const T*, const compute_t<T>*, T*, T*, T*, void*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
