#include "kernels/swiglu/swiglu.h"

#include "kernels/activation/activation_math.h"
#include "kernels/elementwise/map.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cpu {

template <class T>
void swiglu_forward(int64_t rows, int64_t cols, const T* gate, int64_t gate_stride, const T* up,
                    int64_t up_stride, T* y) {
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      map_range(cols, gate + i * gate_stride, up + i * up_stride, y + i * cols,
                [](auto g, auto u) PLINTH_INLINE_LAMBDA { return Silu::value(g) * u; });
    }
  });
}

template <class T>
void swiglu_backward(int64_t rows, int64_t cols, const T* dy, const T* gate, int64_t gate_stride,
                     const T* up, int64_t up_stride, T* dgate, int64_t dgate_stride, T* dup,
                     int64_t dup_stride) {
  parallel_for(rows, grain_for(cols), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* dy_row = dy + i * cols;
      const T* gate_row = gate + i * gate_stride;
      const T* up_row = up + i * up_stride;
      T* dgate_row = dgate + i * dgate_stride;
      T* dup_row = dup + i * dup_stride;
      for_vectors<compute_t<T>>(cols, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
        const auto d = load(dy_row + j, part);
        const auto g = load(gate_row + j, part);
        const auto u = load(up_row + j, part);
        const auto s = sigmoid(g);
        const auto gs = g * s;
        store(dgate_row + j, d * u * (s + gs * (1 - s)), part);
        store(dup_row + j, d * gs, part);
      });
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
