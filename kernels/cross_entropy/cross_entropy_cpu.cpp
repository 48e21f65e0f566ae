#include "kernels/cross_entropy/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/simd_math.h"

namespace plinth::kernels::cpu {

template <class T>
void cross_entropy_forward(const CrossEntropyDesc& desc, const T* logits, const int64_t* target,
                           compute_t<T>* loss, compute_t<T>* lse) {
  using C = compute_t<T>;
  const C smoothing = static_cast<C>(desc.label_smoothing);
  const int64_t classes = desc.classes;
  parallel_for(desc.rows, grain_for(classes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* row = logits + i * classes;
      const C m = row_max(classes, row);
      Sums<C> exponentials;
      for_vectors<C>(classes, [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
        exponentials[slot] += part.keep(exp_nonpositive(load(row + j, part) - m));
      });
      lse[i] = m + std::log(exponentials.total());
      loss[i] = 0;
      if (target[i] == desc.ignore_index) continue;
      loss[i] = (1 - smoothing) * (lse[i] - static_cast<C>(row[target[i]]));
      if (smoothing == 0) continue;
      Sums<C> sum;
      for_vectors<C>(classes, [&](int64_t j, auto part, auto slot)
                                  PLINTH_INLINE_LAMBDA { sum[slot] += load(row + j, part); });
      loss[i] += smoothing * (lse[i] - sum.total() / static_cast<C>(classes));
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
    for (int64_t i = begin; i < end; ++i) {
      const T* row = logits + i * classes;
      T* out = dlogits + i * classes;
      if (target[i] == desc.ignore_index) {
        std::fill_n(out, classes, T(0));
        continue;
      }
      const C scale = dloss[i], row_lse = lse[i];
      const C at_target = std::exp(static_cast<C>(row[target[i]]) - row_lse);
      for_vectors<C>(classes, [&](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
        const auto p = exp_nonpositive(load(row + j, part) - row_lse);
        store(out + j, (p - uniform) * scale, part);
      });
      out[target[i]] = T(scale * (at_target - uniform - (1 - smoothing)));
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
