#include "kernels/activation/activation.h"

#include "kernels/activation/activation_math.h"
#include "kernels/elementwise/map.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cpu {

template <class T>
void gelu_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](auto v) PLINTH_INLINE_LAMBDA { return Gelu::value(v); });
}
template <class T>
void gelu_backward(int64_t n, const T* dy, const T* x, T* dx) {
  map(n, dy, x, dx, [](auto g, auto v) PLINTH_INLINE_LAMBDA { return g * Gelu::gradient(v); });
}

template <class T>
void gelu_tanh_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](auto v) PLINTH_INLINE_LAMBDA { return GeluTanh::value(v); });
}
template <class T>
void gelu_tanh_backward(int64_t n, const T* dy, const T* x, T* dx) {
  map(n, dy, x, dx, [](auto g, auto v) PLINTH_INLINE_LAMBDA { return g * GeluTanh::gradient(v); });
}

template <class T>
void gelu_quick_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](auto v) PLINTH_INLINE_LAMBDA { return GeluQuick::value(v); });
}
template <class T>
void gelu_quick_backward(int64_t n, const T* dy, const T* x, T* dx) {
  map(n, dy, x, dx, [](auto g, auto v) PLINTH_INLINE_LAMBDA { return g * GeluQuick::gradient(v); });
}

template <class T>
void silu_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](auto v) PLINTH_INLINE_LAMBDA { return Silu::value(v); });
}
template <class T>
void silu_backward(int64_t n, const T* dy, const T* x, T* dx) {
  map(n, dy, x, dx, [](auto g, auto v) PLINTH_INLINE_LAMBDA { return g * Silu::gradient(v); });
}

template <class T>
void relu_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](auto v) PLINTH_INLINE_LAMBDA { return v < 0 ? decltype(v){} : v; });
}
template <class T>
void relu_backward(int64_t n, const T* dy, const T* x, T* dx) {
  map(n, dy, x, dx, [](auto g, auto v) PLINTH_INLINE_LAMBDA { return v <= 0 ? decltype(g){} : g; });
}

template <class T>
void sigmoid_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](auto v) PLINTH_INLINE_LAMBDA { return sigmoid(v); });
}
template <class T>
void sigmoid_backward(int64_t n, const T* dy, const T* y, T* dx) {
  map(n, dy, y, dx, [](auto g, auto s) PLINTH_INLINE_LAMBDA { return g * s * (1 - s); });
}

template <class T>
void tanh_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](auto v) PLINTH_INLINE_LAMBDA {
    return per_lane(v, [](auto e) PLINTH_INLINE_LAMBDA { return math::tanh(e); });
  });
}
template <class T>
void tanh_backward(int64_t n, const T* dy, const T* y, T* dx) {
  map(n, dy, y, dx, [](auto g, auto t) PLINTH_INLINE_LAMBDA { return g * (1 - t * t); });
}

#define INSTANTIATE_ONE(name, T)                       \
  template void name##_forward(int64_t, const T*, T*); \
  template void name##_backward(int64_t, const T*, const T*, T*);
#define INSTANTIATE(T)           \
  INSTANTIATE_ONE(gelu, T)       \
  INSTANTIATE_ONE(gelu_tanh, T)  \
  INSTANTIATE_ONE(gelu_quick, T) \
  INSTANTIATE_ONE(silu, T)       \
  INSTANTIATE_ONE(relu, T)       \
  INSTANTIATE_ONE(sigmoid, T)    \
  INSTANTIATE_ONE(tanh, T)
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE
#undef INSTANTIATE_ONE

}  // namespace plinth::kernels::cpu
