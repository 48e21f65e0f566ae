#include <algorithm>
#include <numeric>

#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "kernels/topk/topk.h"

namespace plinth::kernels::cpu {

template <class T>
void topk(int64_t rows, int64_t cols, int64_t k, const T* x, int64_t* out) {
  parallel_for(rows, grain_for(4 * cols), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    int64_t* const order = scratch.get<int64_t>(cols);
    for (int64_t r = begin; r < end; ++r) {
      const T* const row = x + r * cols;
      std::iota(order, order + cols, int64_t{0});
      std::partial_sort(order, order + k, order + cols, [row](int64_t i, int64_t j) {
        return stands_before<compute_t<T>>(row[i], i, row[j], j);
      });
      std::copy_n(order, k, out + r * k);
    }
  });
}

#define PLINTH_INSTANTIATE(T) template void topk<T>(int64_t, int64_t, int64_t, const T*, int64_t*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)

}  // namespace plinth::kernels::cpu
