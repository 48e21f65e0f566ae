#include "kernels/matmul/matmul.h"

#include <vector>

#include "kernels/parallel.h"

namespace plinth::kernels::cpu {

template <class T>
void matmul(const MatmulDesc& desc, const T* a, const T* b, T* c, const T* bias) {
  using C = compute_t<T>;
  const int64_t rows = desc.batch * desc.m;
  parallel_for(rows, grain_for(desc.n * desc.k), [&](int64_t begin, int64_t end) {
    std::vector<C> sums(desc.n);
    for (int64_t r = begin; r < end; ++r) {
      const T* a_row = a + r / desc.m * desc.a[0] + r % desc.m * desc.a[1];
      const T* b_matrix = b + r / desc.m * desc.b[0];
      T* c_row = c + r / desc.m * desc.c[0] + r % desc.m * desc.c[1];
      for (int64_t j = 0; j < desc.n; ++j) {
        sums[j] = bias ? static_cast<C>(bias[j]) : C(0);
        if (desc.accumulate) sums[j] += static_cast<C>(c_row[j * desc.c[2]]);
      }
      for (int64_t p = 0; p < desc.k; ++p) {
        const C x = static_cast<C>(a_row[p * desc.a[2]]);
        for (int64_t j = 0; j < desc.n; ++j)
          sums[j] += x * static_cast<C>(b_matrix[p * desc.b[1] + j * desc.b[2]]);
      }
      for (int64_t j = 0; j < desc.n; ++j) c_row[j * desc.c[2]] = static_cast<T>(sums[j]);
    }
  });
}

template void matmul(const MatmulDesc&, const double*, const double*, double*, const double*);
template void matmul(const MatmulDesc&, const float*, const float*, float*, const float*);
template void matmul(const MatmulDesc&, const BFloat16*, const BFloat16*, BFloat16*,
                     const BFloat16*);
template void matmul(const MatmulDesc&, const Float16*, const Float16*, Float16*, const Float16*);

}  // namespace plinth::kernels::cpu
