#include "kernels/swiglu/swiglu_cuda.h"

#include "kernels/activation/activation_math.cuh"
#include "kernels/instantiate.h"
#include "kernels/rows_cuda.cuh"

namespace plinth::kernels::cuda {
namespace {

template <class T>
PLINTH_KERNEL void forward_kernel(int64_t rows, int64_t cols, int64_t offset, Global<const T> gate,
                                  int64_t gate_stride, Global<const T> up, int64_t up_stride,
                                  Global<T> y) {
  for_rows_and_columns<T>(rows, cols, offset, [&](int64_t row, int64_t j, auto part) {
    compute_t<T> g[part.kSize], u[part.kSize];
    read<T>(gate + row * gate_stride + j, g);
    read<T>(up + row * up_stride + j, u);
    PLINTH_UNROLL
    for (int e = 0; e < part.kSize; ++e) g[e] = Silu<T>::value(g[e]) * u[e];
    write<T>(y + row * cols + j, g);
  });
}

template <class T>
PLINTH_KERNEL void backward_kernel(int64_t rows, int64_t cols, int64_t offset, Global<const T> dy,
                                   Global<const T> gate, int64_t gate_stride, Global<const T> up,
                                   int64_t up_stride, Global<T> dgate, int64_t dgate_stride,
                                   Global<T> dup, int64_t dup_stride) {
  for_rows_and_columns<T>(rows, cols, offset, [&](int64_t row, int64_t j, auto part) {
    using C = compute_t<T>;
    C d[part.kSize], g[part.kSize], u[part.kSize];
    read<T>(dy + row * cols + j, d);
    read<T>(gate + row * gate_stride + j, g);
    read<T>(up + row * up_stride + j, u);
    PLINTH_UNROLL
    for (int e = 0; e < part.kSize; ++e) {
      const C s = sigmoid_as<T>(g[e]), gs = g[e] * s;
      g[e] = d[e] * u[e] * (s + gs * (1 - s));
      u[e] = d[e] * gs;
    }
    write<T>(dgate + row * dgate_stride + j, g);
    write<T>(dup + row * dup_stride + j, u);
  });
}

template <class T, class... Strides>
bool whole_strides(Strides... strides) {
  return ((strides % kVectorWidth<T> == 0) && ...);
}

}  // namespace

template <class T>
void swiglu_forward(void* stream, int64_t rows, int64_t cols, const T* gate, int64_t gate_stride,
                    const T* up, int64_t up_stride, T* y) {
  if (rows == 0 || cols == 0) return;
  const bool whole = whole_vectors(cols, gate, up, y) && whole_strides<T>(gate_stride, up_stride);
  launch("swiglu_forward", forward_kernel<T>, shape_of_rows_and_columns<T>(rows, cols),
         static_cast<Stream>(stream), rows, cols, whole ? 0 : -1, gate, gate_stride, up, up_stride,
         y);
}

template <class T>
void swiglu_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* gate,
                     int64_t gate_stride, const T* up, int64_t up_stride, T* dgate,
                     int64_t dgate_stride, T* dup, int64_t dup_stride) {
  if (rows == 0 || cols == 0) return;
  const bool whole = whole_vectors(cols, dy, gate, up, dgate, dup) &&
                     whole_strides<T>(gate_stride, up_stride, dgate_stride, dup_stride);
  launch("swiglu_backward", backward_kernel<T>, shape_of_rows_and_columns<T>(rows, cols),
         static_cast<Stream>(stream), rows, cols, whole ? 0 : -1, dy, gate, gate_stride, up,
         up_stride, dgate, dgate_stride, dup, dup_stride);
}

#define PLINTH_INSTANTIATE(T)                                                                      \
  template void swiglu_forward<T>(void*, int64_t, int64_t, const T*, int64_t, const T*, int64_t,   \
                                  T*);                                                             \
  template void swiglu_backward<T>(void*, int64_t, int64_t, const T*, const T*, int64_t, const T*, \
                                   int64_t, T*, int64_t, T*, int64_t);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
