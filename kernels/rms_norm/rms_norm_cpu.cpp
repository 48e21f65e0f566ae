#include "kernels/rms_norm/rms_norm.h"

#include <cmath>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/row_blocks.h"
#include "kernels/rows.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
void forward(int64_t rows, int64_t cols, const T* x, const T* residual, const T* weight,
             compute_t<T> eps, T* sum, T* y, compute_t<T>* rstd) {
  using C = compute_t<T>;
  RowBuffer<T> weight_buffer(cols);
  const C* w = weight ? weight_buffer.read(weight) : nullptr;
  parallel_for(rows, grain_for(cols), [&](int64_t begin, int64_t end) {
    RowBuffer<T> in(cols), extra(residual ? cols : 0);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i * cols;
      const C* row =
          residual ? add_rows(cols, x + at, residual + at, sum + at, in, extra) : in.read(x + at);
      const C mean_square =
          sum_over<C>(cols, [=](int64_t j) { return row[j] * row[j]; }) / static_cast<C>(cols);
      const C r = 1 / std::sqrt(mean_square + eps);
      C* out = in.stage(y + at);
      if (w) {
#pragma omp simd
        for (int64_t j = 0; j < cols; ++j) out[j] = row[j] * r * w[j];
      } else {
#pragma omp simd
        for (int64_t j = 0; j < cols; ++j) out[j] = row[j] * r;
      }
      in.flush(y + at);
      if (rstd) rstd[i] = r;
    }
  });
}

template <class T>
void backward(int64_t rows, int64_t cols, const T* dy, const T* dsum, const T* x, const T* weight,
              const compute_t<T>* rstd, T* dx, T* dweight) {
  using C = compute_t<T>;
  RowBuffer<T> weight_buffer(cols);
  const C* w = weight ? weight_buffer.read(weight) : nullptr;
  const RowBlocks blocks = row_blocks(rows, cols);
  const C inverse_cols = C(1) / static_cast<C>(cols);
  const auto block = [&](int64_t first, int64_t last, C* partial) {
    RowBuffer<T> dy_buffer(cols), x_buffer(cols), dsum_buffer(dsum ? cols : 0);
    for (int64_t i = first; i < last; ++i) {
      const C* g = dy_buffer.read(dy + i * cols);
      const C* row = x_buffer.read(x + i * cols);
      const C r = rstd[i];
      if (dweight) {
#pragma omp simd
        for (int64_t j = 0; j < cols; ++j) partial[j] += g[j] * (row[j] * r);
      }
      if (!dx) continue;
      const auto gw = [=](int64_t j) { return w ? g[j] * w[j] : g[j]; };
      const C b = r * inverse_cols * sum_over<C>(cols, [=](int64_t j) { return gw(j) * row[j]; });
      const C* extra = dsum ? dsum_buffer.read(dsum + i * cols) : nullptr;
      C* out = dy_buffer.stage(dx + i * cols);
#pragma omp simd
      for (int64_t j = 0; j < cols; ++j) {
        const C d = r * (gw(j) - row[j] * r * b);
        out[j] = extra ? extra[j] + d : d;
      }
      dy_buffer.flush(dx + i * cols);
    }
  };
  const auto partials = partial_sums<C>(blocks, rows, cols, block);
  if (dweight) add_partials(blocks.count, cols, cols, partials.get(), dweight);
}

}  // namespace

template <class T>
void rms_norm_forward(int64_t rows, int64_t cols, const T* x, const T* weight, compute_t<T> eps,
                      T* y, compute_t<T>* rstd) {
  forward<T>(rows, cols, x, nullptr, weight, eps, nullptr, y, rstd);
}

template <class T>
void add_rms_norm_forward(int64_t rows, int64_t cols, const T* x, const T* residual,
                          const T* weight, compute_t<T> eps, T* sum, T* y, compute_t<T>* rstd) {
  forward<T>(rows, cols, x, residual, weight, eps, sum, y, rstd);
}

template <class T>
void rms_norm_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* weight,
                       const compute_t<T>* rstd, T* dx, T* dweight) {
  backward<T>(rows, cols, dy, nullptr, x, weight, rstd, dx, dweight);
}

template <class T>
void add_rms_norm_backward(int64_t rows, int64_t cols, const T* dy, const T* dsum, const T* sum,
                           const T* weight, const compute_t<T>* rstd, T* dx, T* dweight) {
  backward<T>(rows, cols, dy, dsum, sum, weight, rstd, dx, dweight);
}

#define INSTANTIATE(T)                                                                             \
  template void rms_norm_forward(int64_t, int64_t, const T*, const T*, compute_t<T>, T*,           \
                                 compute_t<T>*);                                                   \
  template void add_rms_norm_forward(int64_t, int64_t, const T*, const T*, const T*, compute_t<T>, \
                                     T*, T*, compute_t<T>*);                                       \
  template void rms_norm_backward(int64_t, int64_t, const T*, const T*, const T*,                  \
                                  const compute_t<T>*, T*, T*);                                    \
  template void add_rms_norm_backward(int64_t, int64_t, const T*, const T*, const T*, const T*,    \
                                      const compute_t<T>*, T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
