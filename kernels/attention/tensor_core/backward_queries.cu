#include "kernels/attention/tensor_core/backward.cuh"
#include "kernels/attention/tensor_core/launch.h"

namespace plinth::kernels::cuda::attention::tensor_core {

template <class T>
void launch_dq(Stream stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
               const T* v, const float* lse, const float* delta, T* dq) {
  const BackwardInputs<T> inputs{dout, q, k, v, lse, delta};
  with_instance(d, [&]<int kColumns, template <class> class Scores>() {
    using Shape = QueryShape<kColumns, Scores<T>::kScaleOnly>;
    const int64_t tiles = tiles_of(d, d.q_len, Shape::kOwn);
    if (tiles == 0 || d.heads == 0) return;
    launch("attention_dq_mma", dq_kernel<T, kColumns, Scores>,
           {{static_cast<uint32_t>(tiles), static_cast<uint32_t>(d.heads)},
            {Shape::kThreads},
            Shape::kSharedBytes},
           stream, d, Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k}, Scores<T>(d),
           Dropout<float>(d), unit_of<Scores<T>>(d), inputs, dq);
  });
}

#define PLINTH_INSTANTIATE(T)                                                                      \
  template void launch_dq<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, const T*, \
                             const float*, const float*, T*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention::tensor_core
