#include "kernels/cross_entropy/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/rows.h"
#include "kernels/vector_math.h"

namespace plinth::kernels::cpu {

template <class T>
void cross_entropy_forward(const CrossEntropyDesc& desc, const T* logits, const int64_t* target,
                           compute_t<T>* loss, compute_t<T>* lse) {
  using C = compute_t<T>;
  const C smoothing = static_cast<C>(desc.label_smoothing);
  const int64_t classes = desc.classes;
  parallel_for(desc.rows, grain_for(classes), [&](int64_t begin, int64_t end) {
    RowBuffer<T> buffer(classes);
    for (int64_t i = begin; i < end; ++i) {
      const C* row = buffer.read(logits + i * classes);
      const C m = max_over(classes, row);
      const C sum = sum_over<C>(classes, [=](int64_t j) { return math::exp(row[j] - m); });
      lse[i] = m + std::log(sum);
      loss[i] = 0;
      if (target[i] == desc.ignore_index) continue;
      loss[i] = (1 - smoothing) * (lse[i] - row[target[i]]);
      if (smoothing != 0) {
        const C mean =
            sum_over<C>(classes, [=](int64_t j) { return row[j]; }) / static_cast<C>(classes);
        loss[i] += smoothing * (lse[i] - mean);
      }
    }
  });
}

template <class T>
void cross_entropy_backward(const CrossEntropyDesc& desc, const compute_t<T>* dloss,
                            const T* logits, const int64_t* target, const compute_t<T>* lse,
                            T* dlogits) {
  using C = compute_t<T>;
  const C smoothing = static_cast<C>(desc.label_smoothing);
  const int64_t classes = desc.classes;
  const C uniform = smoothing / static_cast<C>(classes);
  parallel_for(desc.rows, grain_for(classes), [&](int64_t begin, int64_t end) {
    RowBuffer<T> buffer(classes);
    for (int64_t i = begin; i < end; ++i) {
      T* out_row = dlogits + i * classes;
      if (target[i] == desc.ignore_index) {
        std::fill_n(out_row, classes, T(0));
        continue;
      }
      const C* row = buffer.read(logits + i * classes);
      C* out = buffer.stage(out_row);
      const C scale = dloss[i], row_lse = lse[i];
      for (int64_t j = 0; j < classes; ++j) {
        out[j] = scale * (math::exp(row[j] - row_lse) - uniform);
      }
      out[target[i]] -= scale * (1 - smoothing);
      buffer.flush(out_row);
    }
  });
}

int64_t first_bad_target(int64_t rows, int64_t classes, int64_t ignore_index,
                         const int64_t* target) {
  const int64_t* bad = std::find_if(target, target + rows, [=](int64_t t) {
    return t != ignore_index && (t < 0 || t >= classes);
  });
  return bad == target + rows ? -1 : bad - target;
}

#define INSTANTIATE(T)                                                                         \
  template void cross_entropy_forward(const CrossEntropyDesc&, const T*, const int64_t*,       \
                                      compute_t<T>*, compute_t<T>*);                           \
  template void cross_entropy_backward(const CrossEntropyDesc&, const compute_t<T>*, const T*, \
                                       const int64_t*, const compute_t<T>*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
