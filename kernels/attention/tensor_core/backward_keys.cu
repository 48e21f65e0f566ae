#include "kernels/attention/tensor_core/backward.cuh"

namespace plinth::kernels::cuda::attention::tensor_core {

template <class T>
void launch_dk_dv(Stream stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
                  const T* v, const float* lse, const float* delta, T* dk, T* dv) {
  const BackwardInputs<T> inputs{dout, q, k, v, lse, delta};
  with_instance(d, [&]<int kColumns, template <class> class Scores>() {
    launch_dk_dv<T, kColumns, Scores>(stream, d, inputs, dk, dv);
  });
}

#define PLINTH_INSTANTIATE(T)                                                               \
  template void launch_dk_dv<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, \
                                const T*, const float*, const float*, T*, T*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention::tensor_core
