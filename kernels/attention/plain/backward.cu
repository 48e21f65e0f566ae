#include "kernels/attention/plain/backward.cuh"

#include "kernels/attention/plain/plain.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda {
namespace attention {
namespace {

// A warp takes a query.
template <class T>
PLINTH_KERNEL void delta_kernel(AttentionDesc d, Global<const T> dout, Global<const T> out,
                                Global<const compute_t<T>> dlse, Global<compute_t<T>> delta) {
  using C = compute_t<T>;
  const int64_t number = static_cast<int64_t>(block_index().x) * kWarps + warp_index();
  if (number >= d.batch * d.heads * d.q_len) return;
  const int64_t i = number % d.q_len, head = number / d.q_len % d.heads;
  const int64_t batch = number / d.q_len / d.heads;
  const Global<const T> slopes = row_of(dout, d.dout, batch, head, i);
  const Global<const T> values = row_of(out, d.out, batch, head, i);
  C sum = 0;
  for (int64_t x = lane_index(); x < d.head_dim; x += 32) sum += C(T(slopes[x])) * C(T(values[x]));
  sum = warp_reduce<Sum>(sum);
  if (lane_index() != 0) return;
  if (dlse) {
    const C slope = dlse[number];
    sum -= slope;
  }
  delta[number] = sum;
}

}  // namespace

template <class T>
void row_deltas(Stream stream, const AttentionDesc& d, const T* dout, const T* out,
                compute_t<T>* delta) {
  const int64_t queries = d.batch * d.heads * d.q_len;
  if (queries == 0) return;
  launch("attention_delta", delta_kernel<T>,
         {{static_cast<uint32_t>(ceil_div(queries, kWarps))}, {kThreads}, 0}, stream, d, dout, out,
         static_cast<const compute_t<T>*>(d.dlse), delta);
}

template <class T>
void plain_backward(Stream stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
                    const T* v, const compute_t<T>* lse, const compute_t<T>* delta, T* dq, T* dk,
                    T* dv) {
  with_columns(d.head_dim, [&]<int kColumns>() {
    launch_plain_backward<T, kColumns, Described<T>>(stream, d, dout, q, k, v, lse, delta, dq, dk,
                                                     dv);
  });
}

#define PLINTH_INSTANTIATE(T)                                                                   \
  template void row_deltas<T>(Stream, const AttentionDesc&, const T*, const T*, compute_t<T>*); \
  template void plain_backward<T>(Stream, const AttentionDesc&, const T*, const T*, const T*,   \
                                  const T*, const compute_t<T>*, const compute_t<T>*, T*, T*, T*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace attention
}  // namespace plinth::kernels::cuda
