#include "kernels/attention/weights.cuh"

#include "kernels/attention/custom_kernels.h"
#include "kernels/attention/weights_cuda.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda {

template <class T>
void attention_weights(void* stream, const AttentionDesc& d, int64_t head_count,
                       const int64_t* heads, int64_t row_count, const int64_t* rows, const T* q,
                       const T* k, compute_t<T>* weights) {
  auto* kernel = attention::launch_weights<T, attention::Described<T>>;
  if (d.custom) kernel = std::get<AttentionKernels<T>>(d.custom->on_cuda->of).weights;
  kernel(static_cast<Stream>(stream), d, head_count, heads, row_count, rows, q, k, weights);
}

#define PLINTH_INSTANTIATE(T)                                                              \
  template void attention_weights<T>(void*, const AttentionDesc&, int64_t, const int64_t*, \
                                     int64_t, const int64_t*, const T*, const T*, compute_t<T>*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
