#include "kernels/attention/plain/forward.cuh"

#include "kernels/attention/plain/plain.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda::attention {

template <class T>
void plain_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                   T* out, compute_t<T>* lse) {
  with_columns(d.head_dim, [&]<int kColumns>() {
    launch_plain_forward<T, kColumns, Described<T>>(stream, d, q, k, v, out, lse);
  });
}

#define PLINTH_INSTANTIATE(T)                                                                    \
  template void plain_forward<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, T*, \
                                 compute_t<T>*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention
