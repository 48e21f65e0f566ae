#include "kernels/layer_norm/layer_norm.h"

#include <cmath>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/row_blocks.h"
#include "kernels/rows.h"

namespace plinth::kernels::cpu {
namespace {

// weight and bias in the compute type, made once a call.
template <class T>
class Affine {
 public:
  using C = compute_t<T>;
  Affine(int64_t cols, const T* weight, const T* bias)
      : weight_buffer_(cols),
        bias_buffer_(cols),
        weight(weight ? weight_buffer_.read(weight) : nullptr),
        bias(bias ? bias_buffer_.read(bias) : nullptr) {}

 private:
  RowBuffer<T> weight_buffer_, bias_buffer_;

 public:
  const C* const weight;
  const C* const bias;
};

template <class C>
void apply_affine(int64_t n, const C* x, const C* weight, const C* bias, C mean, C rstd, C* y) {
  if (weight && bias) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - mean) * rstd * weight[j] + bias[j];
  } else if (weight) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - mean) * rstd * weight[j];
  } else if (bias) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - mean) * rstd + bias[j];
  } else {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) y[j] = (x[j] - mean) * rstd;
  }
}

// One row: its statistics from `x`, then y.
template <class C>
struct Statistics {
  C mean, rstd;
};
template <class C>
Statistics<C> statistics(int64_t n, const C* x, C eps) {
  const C mean = sum_over<C>(n, [=](int64_t j) { return x[j]; }) / static_cast<C>(n);
  const C variance =
      sum_over<C>(n, [=](int64_t j) { return (x[j] - mean) * (x[j] - mean); }) / static_cast<C>(n);
  return {mean, 1 / std::sqrt(variance + eps)};
}

template <class T>
void forward(int64_t rows, int64_t cols, const T* x, const T* residual, const T* weight,
             const T* bias, compute_t<T> eps, T* sum, T* y, compute_t<T>* mean,
             compute_t<T>* rstd) {
  const Affine<T> affine(cols, weight, bias);
  parallel_for(rows, grain_for(cols), [&](int64_t begin, int64_t end) {
    RowBuffer<T> in(cols), extra(residual ? cols : 0);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i * cols;
      const auto* row =
          residual ? add_rows(cols, x + at, residual + at, sum + at, in, extra) : in.read(x + at);
      const auto [row_mean, row_rstd] = statistics(cols, row, eps);
      apply_affine(cols, row, affine.weight, affine.bias, row_mean, row_rstd, in.stage(y + at));
      in.flush(y + at);
      if (mean) mean[i] = row_mean;
      if (rstd) rstd[i] = row_rstd;
    }
  });
}

template <class T>
void backward(int64_t rows, int64_t cols, const T* dy, const T* dsum, const T* x, const T* weight,
              const compute_t<T>* mean, const compute_t<T>* rstd, T* dx, T* dweight, T* dbias) {
  using C = compute_t<T>;
  const Affine<T> affine(cols, weight, nullptr);
  const C* w = affine.weight;
  const RowBlocks blocks = row_blocks(rows, cols);
  const C inverse_cols = C(1) / static_cast<C>(cols);
  const auto block = [&](int64_t first, int64_t last, C* partial) {
    RowBuffer<T> dy_buffer(cols), x_buffer(cols), dsum_buffer(dsum ? cols : 0);
    for (int64_t i = first; i < last; ++i) {
      const C* g = dy_buffer.read(dy + i * cols);
      const C* row = x_buffer.read(x + i * cols);
      const C m = mean[i], r = rstd[i];
      if (dweight || dbias) {
#pragma omp simd
        for (int64_t j = 0; j < cols; ++j) {
          partial[j] += g[j] * ((row[j] - m) * r);
          partial[cols + j] += g[j];
        }
      }
      if (!dx) continue;
      const auto gw = [=](int64_t j) { return w ? g[j] * w[j] : g[j]; };
      const C a = sum_over<C>(cols, gw) * inverse_cols;
      const C b =
          sum_over<C>(cols, [=](int64_t j) { return gw(j) * ((row[j] - m) * r); }) * inverse_cols;
      const C* extra = dsum ? dsum_buffer.read(dsum + i * cols) : nullptr;
      C* out = dy_buffer.stage(dx + i * cols);
#pragma omp simd
      for (int64_t j = 0; j < cols; ++j) {
        const C d = r * (gw(j) - a - (row[j] - m) * r * b);
        out[j] = extra ? extra[j] + d : d;
      }
      dy_buffer.flush(dx + i * cols);
    }
  };
  const auto partials = partial_sums<C>(blocks, rows, 2 * cols, block);
  if (dweight) add_partials(blocks.count, 2 * cols, cols, partials.get(), dweight);
  if (dbias) add_partials(blocks.count, 2 * cols, cols, partials.get() + cols, dbias);
}

}  // namespace

template <class T>
void layer_norm_forward(int64_t rows, int64_t cols, const T* x, const T* weight, const T* bias,
                        compute_t<T> eps, T* y, compute_t<T>* mean, compute_t<T>* rstd) {
  forward<T>(rows, cols, x, nullptr, weight, bias, eps, nullptr, y, mean, rstd);
}

template <class T>
void add_layer_norm_forward(int64_t rows, int64_t cols, const T* x, const T* residual,
                            const T* weight, const T* bias, compute_t<T> eps, T* sum, T* y,
                            compute_t<T>* mean, compute_t<T>* rstd) {
  forward<T>(rows, cols, x, residual, weight, bias, eps, sum, y, mean, rstd);
}

template <class T>
void layer_norm_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* weight,
                         const compute_t<T>* mean, const compute_t<T>* rstd, T* dx, T* dweight,
                         T* dbias) {
  backward<T>(rows, cols, dy, nullptr, x, weight, mean, rstd, dx, dweight, dbias);
}

template <class T>
void add_layer_norm_backward(int64_t rows, int64_t cols, const T* dy, const T* dsum, const T* sum,
                             const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                             T* dx, T* dweight, T* dbias) {
  backward<T>(rows, cols, dy, dsum, sum, weight, mean, rstd, dx, dweight, dbias);
}

#define INSTANTIATE(T)                                                                            \
  template void layer_norm_forward(int64_t, int64_t, const T*, const T*, const T*, compute_t<T>,  \
                                   T*, compute_t<T>*, compute_t<T>*);                             \
  template void add_layer_norm_forward(int64_t, int64_t, const T*, const T*, const T*, const T*,  \
                                       compute_t<T>, T*, T*, compute_t<T>*, compute_t<T>*);       \
  template void layer_norm_backward(int64_t, int64_t, const T*, const T*, const T*,               \
                                    const compute_t<T>*, const compute_t<T>*, T*, T*, T*);        \
  template void add_layer_norm_backward(int64_t, int64_t, const T*, const T*, const T*, const T*, \
                                        const compute_t<T>*, const compute_t<T>*, T*, T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
