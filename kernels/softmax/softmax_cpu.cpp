#include "kernels/softmax/softmax.h"

#include <cmath>
#include <memory>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/simd_math.h"

namespace plinth::kernels::cpu {

template <class T>
void softmax_forward(int64_t rows, int64_t cols, const T* x, T* y) {
  using C = compute_t<T>;
  constexpr bool kNarrow = !std::is_same_v<T, C>;
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    // Exponentials wait for their sum in y, or, where that would round them, in a row of C.
    std::unique_ptr<C[]> wide_row;
    if constexpr (kNarrow) wide_row = std::make_unique_for_overwrite<C[]>(cols);
    for (int64_t i = begin; i < end; ++i) {
      const T* row = x + i * cols;
      T* out = y + i * cols;
      C* exponentials;
      if constexpr (kNarrow) {
        exponentials = wide_row.get();
      } else {
        exponentials = out;
      }
      const C m = row_max(cols, row);
      Sums<C> sum;
      for_vectors<C>(cols, [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
        const auto e = exp_nonpositive(load(row + j, part) - m);
        sum[slot] += part.keep(e);
        store(exponentials + j, e, part);
      });
      const C scale = 1 / sum.total();
      for_vectors<C>(cols, [&](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
        store(out + j, load(exponentials + j, part) * scale, part);
      });
    }
  });
}

template <class T>
void softmax_backward(int64_t rows, int64_t cols, const T* dy, const T* y, T* dx) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *g = dy + i * cols, *p = y + i * cols;
      T* out = dx + i * cols;
      Sums<C> sum;
      for_vectors<C>(cols, [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
        sum[slot] += load(g + j, part) * load(p + j, part);
      });
      const C dot = sum.total();
      for_vectors<C>(cols, [&](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
        store(out + j, load(p + j, part) * (load(g + j, part) - dot), part);
      });
    }
  });
}

template <class T>
void log_softmax_forward(int64_t rows, int64_t cols, const T* x, T* y) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* row = x + i * cols;
      T* out = y + i * cols;
      const C m = row_max(cols, row);
      Sums<C> sum;
      for_vectors<C>(cols, [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
        sum[slot] += part.keep(exp_nonpositive(load(row + j, part) - m));
      });
      const C log_sum = std::log(sum.total());
      for_vectors<C>(cols, [&](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
        store(out + j, (load(row + j, part) - m) - log_sum, part);
      });
    }
  });
}

template <class T>
void log_softmax_backward(int64_t rows, int64_t cols, const T* dy, const T* y, T* dx) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *g = dy + i * cols, *log_p = y + i * cols;
      T* out = dx + i * cols;
      Sums<C> sums;
      for_vectors<C>(cols, [&](int64_t j, auto part, auto slot)
                               PLINTH_INLINE_LAMBDA { sums[slot] += load(g + j, part); });
      const C sum = sums.total();
      for_vectors<C>(cols, [&](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
        store(out + j, load(g + j, part) - exp_nonpositive(load(log_p + j, part)) * sum, part);
      });
    }
  });
}

#define INSTANTIATE(T)                                                      \
  template void softmax_forward(int64_t, int64_t, const T*, T*);            \
  template void softmax_backward(int64_t, int64_t, const T*, const T*, T*); \
  template void log_softmax_forward(int64_t, int64_t, const T*, T*);        \
  template void log_softmax_backward(int64_t, int64_t, const T*, const T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
