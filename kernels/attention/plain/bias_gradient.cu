#include "kernels/attention/plain/bias_gradient.cuh"

#include "kernels/attention/plain/plain.h"
#include "kernels/device/collective.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda {
namespace attention {
namespace {

template <class C>
PLINTH_KERNEL void sink_kernel(AttentionDesc d, Global<const C> sinks, Global<const C> lse,
                               Global<const C> delta, Global<C> dsinks) {
  const int64_t head = block_index().x;
  const C own = sinks[head];
  const C sink = own * std::numbers::log2e_v<C>;
  C sum = 0;
  for (int64_t row = thread_index(); row < d.batch * d.q_len; row += block_threads()) {
    const int64_t at = (row / d.q_len * d.heads + head) * d.q_len + row % d.q_len;
    const C weight = power_of_two(sink - lse_of_weights<C>(lse[at])), slope = delta[at];
    sum -= weight * slope;
  }
  sum = block_reduce<Sum>(sum, C(0), shared_array<C>(0, 32));
  if (thread_index() == 0) dsinks[head] = sum;
}

}  // namespace

template <class T>
void bias_gradient(Stream stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
                   const T* v, const compute_t<T>* lse, const compute_t<T>* delta) {
  with_columns(d.head_dim, [&]<int kColumns>() {
    launch_bias_gradient<T, kColumns, Described<T>>(stream, d, dout, q, k, v, lse, delta);
  });
}

template <class C>
void sink_gradient(Stream stream, const AttentionDesc& d, const C* lse, const C* delta) {
  constexpr uint32_t kSinkThreads = 1024;  // few blocks: many loads of each must be on their way
  if (d.heads == 0) return;
  launch("attention_dsinks", sink_kernel<C>,
         {{static_cast<uint32_t>(d.heads)}, {kSinkThreads}, 32 * sizeof(C)}, stream, d,
         static_cast<const C*>(d.sinks), lse, delta, static_cast<C*>(d.dsinks));
}

#define PLINTH_INSTANTIATE(T)                                                                \
  template void bias_gradient<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, \
                                 const T*, const compute_t<T>*, const compute_t<T>*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE
template void sink_gradient<float>(Stream, const AttentionDesc&, const float*, const float*);
template void sink_gradient<double>(Stream, const AttentionDesc&, const double*, const double*);

}  // namespace attention
}  // namespace plinth::kernels::cuda
