#include "kernels/softmax/softmax.h"

#include <cmath>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/rows.h"
#include "kernels/vector_math.h"

namespace plinth::kernels::cpu {

template <class T>
void softmax_forward(int64_t rows, int64_t cols, const T* x, T* y) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(cols), [&](int64_t begin, int64_t end) {
    RowBuffer<T> buffer(cols);
    for (int64_t i = begin; i < end; ++i) {
      const C* row = buffer.read(x + i * cols);
      C* out = buffer.stage(y + i * cols);
      const C m = max_over(cols, row);
      C sum = 0;
      for (int64_t j = 0; j < cols; ++j) sum += out[j] = math::exp(row[j] - m);
      const C scale = 1 / sum;
#pragma omp simd
      for (int64_t j = 0; j < cols; ++j) out[j] *= scale;
      buffer.flush(y + i * cols);
    }
  });
}

template <class T>
void softmax_backward(int64_t rows, int64_t cols, const T* dy, const T* y, T* dx) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(cols), [&](int64_t begin, int64_t end) {
    RowBuffer<T> dy_buffer(cols), y_buffer(cols);
    for (int64_t i = begin; i < end; ++i) {
      const C* g = dy_buffer.read(dy + i * cols);
      const C* p = y_buffer.read(y + i * cols);
      const C dot = sum_over<C>(cols, [=](int64_t j) { return g[j] * p[j]; });
      C* out = dy_buffer.stage(dx + i * cols);
#pragma omp simd
      for (int64_t j = 0; j < cols; ++j) out[j] = p[j] * (g[j] - dot);
      dy_buffer.flush(dx + i * cols);
    }
  });
}

template <class T>
void log_softmax_forward(int64_t rows, int64_t cols, const T* x, T* y) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(cols), [&](int64_t begin, int64_t end) {
    RowBuffer<T> buffer(cols);
    for (int64_t i = begin; i < end; ++i) {
      const C* row = buffer.read(x + i * cols);
      C* out = buffer.stage(y + i * cols);
      const C m = max_over(cols, row);
      const C sum = sum_over<C>(cols, [=](int64_t j) { return math::exp(row[j] - m); });
      const C log_sum = std::log(sum);
#pragma omp simd
      for (int64_t j = 0; j < cols; ++j) out[j] = (row[j] - m) - log_sum;
      buffer.flush(y + i * cols);
    }
  });
}

template <class T>
void log_softmax_backward(int64_t rows, int64_t cols, const T* dy, const T* y, T* dx) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(cols), [&](int64_t begin, int64_t end) {
    RowBuffer<T> dy_buffer(cols), y_buffer(cols);
    for (int64_t i = begin; i < end; ++i) {
      const C* g = dy_buffer.read(dy + i * cols);
      const C* log_p = y_buffer.read(y + i * cols);
      const C sum = sum_over<C>(cols, [=](int64_t j) { return g[j]; });
      C* out = dy_buffer.stage(dx + i * cols);
      for (int64_t j = 0; j < cols; ++j) out[j] = g[j] - math::exp(log_p[j]) * sum;
      dy_buffer.flush(dx + i * cols);
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
