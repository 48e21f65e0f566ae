#include "kernels/bias_gelu/bias_gelu.h"

#include "kernels/activation/activation_math.h"
#include "kernels/elementwise/map.h"
#include "kernels/instantiate.h"
#include "kernels/row_blocks.h"

namespace plinth::kernels::cpu {
namespace {

template <class Form, class T>
void forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y) {
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      map_range(cols, x + i * cols, bias, y + i * cols,
                [](auto v, auto b) PLINTH_INLINE_LAMBDA { return Form::value(v + b); });
    }
  });
}

template <class Form, class T>
void backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias, T* dx, T* dbias) {
  using C = compute_t<T>;
  const RowBlocks blocks = row_blocks(rows, cols);
  const C* partials =
      partial_sums<C>(blocks, rows, cols, [=](int64_t first, int64_t last, C* partial) {
        for (int64_t i = first; i < last; ++i) {
          const int64_t at = i * cols;
          for_vectors<C>(cols, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
            const auto v = load(x + at + j, part) + load(bias + j, part);
            const auto d = load(dy + at + j, part) * Form::gradient(v);
            store(dx + at + j, d, part);
            store(partial + j, load(partial + j, part) + d, part);
          });
        }
      });
  if (dbias) add_partials(blocks.count, cols, cols, partials, dbias);
}

}  // namespace

template <class T>
void bias_gelu_forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y) {
  forward<Gelu>(rows, cols, x, bias, y);
}

template <class T>
void bias_gelu_tanh_forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y) {
  forward<GeluTanh>(rows, cols, x, bias, y);
}

template <class T>
void bias_gelu_quick_forward(int64_t rows, int64_t cols, const T* x, const T* bias, T* y) {
  forward<GeluQuick>(rows, cols, x, bias, y);
}

template <class T>
void bias_gelu_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias, T* dx,
                        T* dbias) {
  backward<Gelu>(rows, cols, dy, x, bias, dx, dbias);
}

template <class T>
void bias_gelu_tanh_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias,
                             T* dx, T* dbias) {
  backward<GeluTanh>(rows, cols, dy, x, bias, dx, dbias);
}

template <class T>
void bias_gelu_quick_backward(int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias,
                              T* dx, T* dbias) {
  backward<GeluQuick>(rows, cols, dy, x, bias, dx, dbias);
}

#define INSTANTIATE_ONE(name, T)                                          \
  template void name##_forward(int64_t, int64_t, const T*, const T*, T*); \
  template void name##_backward(int64_t, int64_t, const T*, const T*, const T*, T*, T*);
#define INSTANTIATE(T)               \
  INSTANTIATE_ONE(bias_gelu, T)      \
  INSTANTIATE_ONE(bias_gelu_tanh, T) \
  INSTANTIATE_ONE(bias_gelu_quick, T)
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE
#undef INSTANTIATE_ONE

}  // namespace plinth::kernels::cpu
