#include "kernels/bias_gelu/bias_gelu.h"

#include "kernels/activation/activation_math.h"
#include "kernels/instantiate.h"
#include "kernels/row_blocks.h"

namespace plinth::kernels::cpu {
namespace {

template <class T, class F>
void forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y, F f) {
  using C = compute_t<T>;
  RowBuffer<T> bias_buffer(cols);
  const C* b = bias_buffer.read(bias);
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    RowBuffer<T> buffer(cols);
    for (int64_t i = begin; i < end; ++i) {
      const C* row = buffer.read(x + i * cols);
      C* out = buffer.stage(y + i * cols);
#pragma omp simd
      for (int64_t j = 0; j < cols; ++j) out[j] = f(row[j] + b[j]);
      buffer.flush(y + i * cols);
    }
  });
}

template <class T, class F>
void backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias, T* dx, T* dbias,
              F gradient) {
  using C = compute_t<T>;
  RowBuffer<T> bias_buffer(cols);
  const C* b = bias_buffer.read(bias);
  const RowBlocks blocks = row_blocks(rows, cols);
  const auto partials =
      partial_sums<C>(blocks, rows, cols, [&](int64_t first, int64_t last, C* partial) {
        RowBuffer<T> dy_buffer(cols), x_buffer(cols);
        for (int64_t i = first; i < last; ++i) {
          const C* g = dy_buffer.read(dy + i * cols);
          const C* row = x_buffer.read(x + i * cols);
          C* out = dy_buffer.stage(dx + i * cols);
#pragma omp simd
          for (int64_t j = 0; j < cols; ++j) {
            const C d = g[j] * gradient(row[j] + b[j]);
            partial[j] += d;
            out[j] = d;
          }
          dy_buffer.flush(dx + i * cols);
        }
      });
  if (dbias) add_partials(blocks.count, cols, cols, partials.get(), dbias);
}

}  // namespace

template <class T>
void bias_gelu_forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y) {
  forward(rows, cols, x, bias, y, [](compute_t<T> v) { return gelu(v); });
}

template <class T>
void bias_gelu_tanh_forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y) {
  forward(rows, cols, x, bias, y, [](compute_t<T> v) { return gelu_tanh(v); });
}

template <class T>
void bias_gelu_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias, T* dx,
                        T* dbias) {
  backward(rows, cols, dy, x, bias, dx, dbias, [](compute_t<T> v) { return gelu_gradient(v); });
}

template <class T>
void bias_gelu_tanh_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias,
                             T* dx, T* dbias) {
  backward(rows, cols, dy, x, bias, dx, dbias,
           [](compute_t<T> v) { return gelu_tanh_gradient(v); });
}

#define INSTANTIATE(T)                                                                      \
  template void bias_gelu_forward(int64_t, int64_t, const T*, const T*, T*);                \
  template void bias_gelu_tanh_forward(int64_t, int64_t, const T*, const T*, T*);           \
  template void bias_gelu_backward(int64_t, int64_t, const T*, const T*, const T*, T*, T*); \
  template void bias_gelu_tanh_backward(int64_t, int64_t, const T*, const T*, const T*, T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
