#include "kernels/bias_gelu/bias_gelu_cuda.h"

#include "kernels/activation/activation_math.cuh"
#include "kernels/instantiate.h"
#include "kernels/rows_cuda.cuh"

namespace plinth::kernels::cuda {
namespace {

template <class T, class Form>
PLINTH_KERNEL void forward_kernel(int64_t rows, int64_t cols, int64_t offset, Global<const T> x,
                                  Global<const T> bias, Global<T> y) {
  for_rows_and_columns<T>(rows, cols, offset, [&](int64_t row, int64_t j, auto part) {
    compute_t<T> v[part.kSize], b[part.kSize];
    read<T>(x + row * cols + j, v);
    read<T>(bias + j, b);
    PLINTH_UNROLL
    for (int e = 0; e < part.kSize; ++e) v[e] = Form::value(v[e] + b[e]);
    write<T>(y + row * cols + j, v);
  });
}

// Warps a block, each with a part of the rows; rows that a thread reads before it writes the first.
constexpr int kRowsAtOnce = 2;

template <class T, class Form, int kWidth>
PLINTH_KERNEL void backward_kernel(int64_t rows, int64_t cols, int64_t parts, Global<const T> dy,
                                   Global<const T> x, Global<const T> bias, Global<T> dx,
                                   Global<compute_t<T>> partials) {
  using C = compute_t<T>;
  const int64_t column = (static_cast<int64_t>(block_index().x) * 32 + lane_index()) * kWidth;
  const int64_t part = static_cast<int64_t>(block_index().y) * kWarpsABlock + warp_index();
  if (column >= cols || part >= parts) return;
  C b[kWidth], dbias[kWidth] = {};
  read<T>(bias + column, b);
  for (int64_t first = part; first < rows; first += kRowsAtOnce * parts) {
    C g[kRowsAtOnce][kWidth], v[kRowsAtOnce][kWidth];
    PLINTH_UNROLL
    for (int k = 0; k < kRowsAtOnce; ++k) {
      const int64_t row = first + k * parts;
      if (row >= rows) continue;
      read<T>(dy + row * cols + column, g[k]);
      read<T>(x + row * cols + column, v[k]);
    }
    PLINTH_UNROLL
    for (int k = 0; k < kRowsAtOnce; ++k) {
      const int64_t row = first + k * parts;
      if (row >= rows) continue;
      PLINTH_UNROLL
      for (int e = 0; e < kWidth; ++e) {
        g[k][e] *= Form::gradient(v[k][e] + b[e]);
        dbias[e] += g[k][e];
      }
      write<T>(dx + row * cols + column, g[k]);
    }
  }
  if (!partials) return;
  PLINTH_UNROLL
  for (int e = 0; e < kWidth; ++e) partials[part * cols + column + e] = dbias[e];
}

template <class Form, class T>
void forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* bias, T* y) {
  if (rows == 0 || cols == 0) return;
  launch("bias_gelu_forward", forward_kernel<T, Form>, shape_of_rows_and_columns<T>(rows, cols),
         static_cast<Stream>(stream), rows, cols, whole_vectors(cols, x, bias, y) ? 0 : -1, x, bias,
         y);
}

template <class Form, int kWidth, class T>
void launch_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* x,
                     const T* bias, T* dx, compute_t<T>* partials) {
  const int64_t parts = parts_of(rows);
  const LaunchShape shape{{static_cast<uint32_t>(ceil_div(cols, 32 * kWidth)),
                           static_cast<uint32_t>(ceil_div(parts, kWarpsABlock))},
                          {32 * kWarpsABlock},
                          0};
  launch("bias_gelu_backward", backward_kernel<T, Form, kWidth>, shape, static_cast<Stream>(stream),
         rows, cols, parts, dy, x, bias, dx, partials);
}

template <class Form, class T>
void backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* x, const T* bias,
              T* dx, T* dbias, void* workspace) {
  if (cols == 0) return;
  compute_t<T>* partials = dbias ? static_cast<compute_t<T>*>(workspace) : nullptr;
  if (rows > 0) {
    if (whole_vectors(cols, dy, x, bias, dx)) {
      launch_backward<Form, kVectorWidth<T>>(stream, rows, cols, dy, x, bias, dx, partials);
    } else {
      launch_backward<Form, 1>(stream, rows, cols, dy, x, bias, dx, partials);
    }
  }
  join_parts("bias_gelu_join", stream, parts_of(rows), cols, cols, partials, dbias);
}

}  // namespace

template <class T>
void bias_gelu_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* bias, T* y) {
  forward<Gelu<T>>(stream, rows, cols, x, bias, y);
}
template <class T>
void bias_gelu_tanh_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* bias,
                            T* y) {
  forward<GeluTanh<T>>(stream, rows, cols, x, bias, y);
}
template <class T>
void bias_gelu_quick_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* bias,
                             T* y) {
  forward<GeluQuick<T>>(stream, rows, cols, x, bias, y);
}

template <class T>
size_t bias_gelu_backward_workspace(int64_t rows, int64_t cols) {
  return static_cast<size_t>(parts_of(rows) * cols) * sizeof(compute_t<T>);
}

template <class T>
void bias_gelu_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* x,
                        const T* bias, T* dx, T* dbias, void* workspace) {
  backward<Gelu<T>>(stream, rows, cols, dy, x, bias, dx, dbias, workspace);
}
template <class T>
void bias_gelu_tanh_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* x,
                             const T* bias, T* dx, T* dbias, void* workspace) {
  backward<GeluTanh<T>>(stream, rows, cols, dy, x, bias, dx, dbias, workspace);
}
template <class T>
void bias_gelu_quick_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* x,
                              const T* bias, T* dx, T* dbias, void* workspace) {
  backward<GeluQuick<T>>(stream, rows, cols, dy, x, bias, dx, dbias, workspace);
}

#define PLINTH_INSTANTIATE_ONE(name, T)                                                           \
  template void name##_forward<T>(void*, int64_t, int64_t, const T*, const T*, T*);               \
  template void name##_backward<T>(void*, int64_t, int64_t, const T*, const T*, const T*, T*, T*, \
                                   void*);
#define PLINTH_INSTANTIATE(T)                                        \
  template size_t bias_gelu_backward_workspace<T>(int64_t, int64_t); \
  PLINTH_INSTANTIATE_ONE(bias_gelu, T)                               \
  PLINTH_INSTANTIATE_ONE(bias_gelu_tanh, T)                          \
  PLINTH_INSTANTIATE_ONE(bias_gelu_quick, T)
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE
#undef PLINTH_INSTANTIATE_ONE

}  // namespace plinth::kernels::cuda
