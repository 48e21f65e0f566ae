#include "kernels/attention/tensor_core/backward.cuh"
#include "kernels/attention/tensor_core/launch.h"

namespace plinth::kernels::cuda::attention::tensor_core {

template <class T>
void launch_dk_dv(Stream stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
                  const T* v, const float* lse, const float* delta, T* dk, T* dv) {
  const BackwardInputs<T> inputs{dout, q, k, v, lse, delta};
  with_instance(d, [&]<int kColumns, template <class> class Scores>() {
    using Shape = KeyShape<kColumns, Scores<T>::kScaleOnly>;
    const int64_t tiles = tiles_of(d, d.kv_len, Shape::kOwn);
    if (tiles == 0 || d.kv_heads == 0) return;
    const LaunchShape shape{{static_cast<uint32_t>(tiles), static_cast<uint32_t>(d.kv_heads)},
                            {Shape::kThreads},
                            Shape::kSharedBytes};
    const auto start = [&](const char* name, auto kernel) {
      launch(name, kernel, shape, stream, d, Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k},
             Scores<T>(d), Dropout<float>(d), unit_of<Scores<T>>(d), inputs, dk, dv);
    };
    if constexpr (Shape::kApart) {
      start("attention_dv_mma", dk_dv_kernel<T, kColumns, Scores, false, true>);
      start("attention_dk_mma", dk_dv_kernel<T, kColumns, Scores, true, false>);
    } else {
      start("attention_dk_dv_mma", dk_dv_kernel<T, kColumns, Scores, true, true>);
    }
  });
}

#define PLINTH_INSTANTIATE(T)                                                               \
  template void launch_dk_dv<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, \
                                const T*, const float*, const float*, T*, T*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention::tensor_core
