#include "kernels/attention/tensor_core/backward.cuh"

namespace plinth::kernels::cuda::attention::tensor_core {

template <class T>
void launch_dq(Stream stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
               const T* v, const float* lse, const float* delta, T* dq) {
  const BackwardInputs<T> inputs{dout, q, k, v, lse, delta};
  with_instance(d, [&]<int kColumns, template <class> class Scores>() {
    launch_dq<T, kColumns, Scores>(stream, d, inputs, dq);
  });
}

#define PLINTH_INSTANTIATE(T)                                                                      \
  template void launch_dq<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, const T*, \
                             const float*, const float*, T*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention::tensor_core
