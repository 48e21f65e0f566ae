#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/decode/decode.h"
#include "kernels/attention/plain/plain.h"
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

template <class T>
AttentionPath attention_path(const AttentionDesc& d, bool backward) {
  if (!backward && attention::decode_takes<T>(d))
    return {AttentionKernel::Decode, "few queries: the time is that of reading k and v once"};
  return {AttentionKernel::Plain, "the only kernel of this build"};
}

template <class T>
void attention_forward(void* stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                       T* out, compute_t<T>* lse, void* workspace) {
  const auto s = static_cast<device::Stream>(stream);
  if (attention::decode_takes<T>(d, k, v, workspace))
    return attention::decode_forward<T>(s, d, q, k, v, out, lse, workspace);
  attention::plain_forward<T>(s, d, q, k, v, out, lse);
}

template <class T>
size_t attention_forward_workspace(const AttentionDesc& d) {
  return attention::decode_takes<T>(d) ? attention::decode_workspace<T>(d) : 0;
}

template <class T>
size_t attention_backward_workspace(const AttentionDesc& d) {
  return static_cast<size_t>(d.batch * d.heads * d.q_len) * sizeof(compute_t<T>);
}

template <class T>
void attention_backward(void* stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
                        const T* v, const T* out, const compute_t<T>* lse, T* dq, T* dk, T* dv,
                        void* workspace) {
  const auto s = static_cast<device::Stream>(stream);
  auto* const delta = static_cast<compute_t<T>*>(workspace);
  attention::row_deltas<T>(s, d, dout, out, delta);
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
