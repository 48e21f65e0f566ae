#include "kernels/attention/tensor_core/forward.cuh"

#include "kernels/attention/tensor_core/tensor_core.h"

namespace plinth::kernels::cuda::attention {

template <class T>
void tensor_core_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                         T* out, float* lse) {
  tensor_core::with_instance(d, [&]<int kColumns, template <class> class Scores>() {
    tensor_core::launch_forward<T, kColumns, Scores>(stream, d, q, k, v, out, lse);
  });
}

#define PLINTH_INSTANTIATE(T)                                                                      \
  template void tensor_core_forward<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, \
                                       T*, float*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention
