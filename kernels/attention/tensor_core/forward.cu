#include "kernels/attention/tensor_core/forward.cuh"

#include "kernels/attention/tensor_core/launch.h"
#include "kernels/attention/tensor_core/tensor_core.h"

namespace plinth::kernels::cuda::attention {

template <class T>
void tensor_core_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                         T* out, float* lse) {
  tensor_core::with_instance(d, [&]<int kColumns, template <class> class Scores>() {
    using Shape = tensor_core::ForwardShape<kColumns, Scores<T>::kScaleOnly>;
    const int64_t tiles = tiles_of(d, d.q_len, Shape::kQueries);
    if (tiles == 0 || d.heads == 0) return;
    launch("attention_forward_mma", tensor_core::forward_kernel<T, kColumns, Scores>,
           {{static_cast<uint32_t>(tiles), static_cast<uint32_t>(d.heads)},
            {Shape::kThreads},
            Shape::kSharedBytes},
           stream, d, Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k}, Scores<T>(d),
           Dropout<float>(d), tensor_core::unit_of<Scores<T>>(d), q, k, v, out, lse);
  });
}

#define PLINTH_INSTANTIATE(T)                                                                      \
  template void tensor_core_forward<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, \
                                       T*, float*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention
