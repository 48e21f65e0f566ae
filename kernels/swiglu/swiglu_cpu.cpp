#include "kernels/swiglu/swiglu.h"

#include "kernels/activation/activation_math.h"
#include "kernels/elementwise.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cpu {

template <class T>
void swiglu_forward(int64_t rows, int64_t cols, const T* gate, int64_t gate_stride, const T* up,
                    int64_t up_stride, T* y) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      map_range(cols, gate + i * gate_stride, up + i * up_stride, y + i * cols,
                [](C g, C u) { return silu(g) * u; });
    }
  });
}

template <class T>
void swiglu_backward(int64_t rows, int64_t cols, const T* dy, const T* gate, int64_t gate_stride,
                     const T* up, int64_t up_stride, T* dgate, int64_t dgate_stride, T* dup,
                     int64_t dup_stride) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    RowBuffer<T> dy_buffer(cols), gate_buffer(cols), up_buffer(cols);
    for (int64_t i = begin; i < end; ++i) {
      const C* d = dy_buffer.read(dy + i * cols);
      const C* g = gate_buffer.read(gate + i * gate_stride);
      const C* u = up_buffer.read(up + i * up_stride);
      C* dg = gate_buffer.stage(dgate + i * dgate_stride);
      C* du = up_buffer.stage(dup + i * dup_stride);
#pragma omp simd
      for (int64_t j = 0; j < cols; ++j) {
        const C s = math::sigmoid(g[j]);
        const C gs = g[j] * s;
        const C dgate_j = d[j] * u[j] * (s + gs * (1 - s));
        const C dup_j = d[j] * gs;
        dg[j] = dgate_j;
        du[j] = dup_j;
      }
      gate_buffer.flush(dgate + i * dgate_stride);
      up_buffer.flush(dup + i * dup_stride);
    }
  });
}

#define INSTANTIATE(T)                                                                            \
  template void swiglu_forward(int64_t, int64_t, const T*, int64_t, const T*, int64_t, T*);       \
  template void swiglu_backward(int64_t, int64_t, const T*, const T*, int64_t, const T*, int64_t, \
                                T*, int64_t, T*, int64_t);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
