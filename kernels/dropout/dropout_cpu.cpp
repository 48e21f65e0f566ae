#include "kernels/dropout/dropout.h"

#include <algorithm>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"

namespace plinth::kernels::cpu {

template <class T>
void dropout_forward(int64_t n_samples, int64_t elements_per_sample, double p, const PhiloxKey& key,
                     const T* x, T* y) {
  using C = compute_t<T>;
  const Philox2 stream = philox_stream(key);
  const C scale = p < 1 ? static_cast<C>(1 / (1 - p)) : C(0);
  const float threshold = static_cast<float>(p);
  const int64_t blocks = (elements_per_sample + 3) / 4;
  parallel_for(n_samples * blocks, grain_for(4), [=](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t sample = k / blocks, block = k % blocks;
      const Philox4 words = philox(stream, key.sample + sample, block);
      const int64_t count = std::min<int64_t>(4, elements_per_sample - 4 * block);
      const int64_t at = sample * elements_per_sample + 4 * block;
      for (int64_t i = 0; i < count; ++i) {
        y[at + i] = uniform(words[i]) >= threshold ? T(static_cast<C>(x[at + i]) * scale) : T(0);
      }
    }
  });
}

#define INSTANTIATE(T) \
  template void dropout_forward(int64_t, int64_t, double, const PhiloxKey&, const T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
