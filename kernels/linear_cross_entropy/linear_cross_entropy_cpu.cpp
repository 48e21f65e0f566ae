#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include "kernels/instantiate.h"
#include "kernels/linear_cross_entropy/in_rows.h"

namespace plinth::kernels::cpu {

template <class T>
void linear_cross_entropy(const LinearCrossEntropyDesc& d, const T* x, const T* w,
                          const int64_t* target, compute_t<T>* loss, T* dx, compute_t<T>* dw,
                          compute_t<T> row_scale) {
  linear_cross_entropy_detail::in_rows(d, x, w, target, loss, dx, dw, row_scale);
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
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
