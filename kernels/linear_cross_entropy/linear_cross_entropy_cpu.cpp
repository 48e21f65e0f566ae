#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/parallel.h"

namespace plinth::kernels::cpu {

template <class T>
void linear_cross_entropy(const LinearCrossEntropyDesc& d, const T* x, const T* w,
                          const int64_t* target, compute_t<T>* loss, T* dx, compute_t<T>* dw,
                          compute_t<T> row_scale) {
  using C = compute_t<T>;
  std::vector<C> z(d.vocab), sum_dx(d.dim);
  for (int64_t r = 0; r < d.rows; ++r) {
    const T* x_row = x + r * d.dim;
    std::fill(sum_dx.begin(), sum_dx.end(), C(0));
    loss[r] = 0;
    if (target[r] != d.ignore_index) {
      C total = 0, sum = 0;
      parallel_for(d.vocab, grain_for(d.dim), [&](int64_t begin, int64_t end) {
        for (int64_t j = begin; j < end; ++j) {
          z[j] = 0;
          for (int64_t p = 0; p < d.dim; ++p)
            z[j] += static_cast<C>(x_row[p]) * static_cast<C>(w[j * d.dim + p]);
        }
      });
      const C top = *std::max_element(z.begin(), z.end());
      for (C value : z) {
        total += std::exp(value - top);
        sum += value;
      }
      const C lse = top + std::log(total), smooth = d.label_smoothing / C(d.vocab);
      loss[r] = lse - (1 - d.label_smoothing) * z[target[r]] - smooth * sum + d.z_loss * lse * lse;
      if (dx == nullptr && dw == nullptr) continue;
      for (int64_t j = 0; j < d.vocab; ++j) {
        const C hit = j == target[r] ? 1 - d.label_smoothing : C(0);
        z[j] = row_scale * ((1 + 2 * d.z_loss * lse) * std::exp(z[j] - lse) - hit - smooth);
        for (int64_t p = 0; p < d.dim; ++p) {
          sum_dx[p] += z[j] * static_cast<C>(w[j * d.dim + p]);
          if (dw != nullptr) dw[j * d.dim + p] += z[j] * static_cast<C>(x_row[p]);
        }
      }
    }
    for (int64_t p = 0; dx != nullptr && p < d.dim; ++p)
      dx[r * d.dim + p] = static_cast<T>(sum_dx[p]);
  }
}

int64_t first_bad_target(const int64_t* target, int64_t rows, int64_t vocab, int64_t ignore_index) {
  for (int64_t r = 0; r < rows; ++r) {
    if (target[r] != ignore_index && (target[r] < 0 || target[r] >= vocab)) return r;
  }
  return -1;
}

#define PLINTH_INSTANTIATE(T)                                                           \
  template void linear_cross_entropy(const LinearCrossEntropyDesc&, const T*, const T*, \
                                     const int64_t*, compute_t<T>*, T*, compute_t<T>*,  \
                                     compute_t<T>);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
