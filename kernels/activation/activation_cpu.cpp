#include "kernels/activation/activation.h"

#include "kernels/activation/activation_math.h"
#include "kernels/elementwise.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cpu {

template <class T>
void gelu_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](compute_t<T> v) { return gelu(v); });
}
template <class T>
void gelu_backward(int64_t n, const T* dy, const T* x, T* dx) {
  map(n, dy, x, dx, [](compute_t<T> g, compute_t<T> v) { return g * gelu_gradient(v); });
}

template <class T>
void gelu_tanh_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](compute_t<T> v) { return gelu_tanh(v); });
}
template <class T>
void gelu_tanh_backward(int64_t n, const T* dy, const T* x, T* dx) {
  map(n, dy, x, dx, [](compute_t<T> g, compute_t<T> v) { return g * gelu_tanh_gradient(v); });
}

template <class T>
void silu_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](compute_t<T> v) { return silu(v); });
}
template <class T>
void silu_backward(int64_t n, const T* dy, const T* x, T* dx) {
  map(n, dy, x, dx, [](compute_t<T> g, compute_t<T> v) { return g * silu_gradient(v); });
}

template <class T>
void relu_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](compute_t<T> v) { return v < 0 ? compute_t<T>(0) : v; });
}
template <class T>
void relu_backward(int64_t n, const T* dy, const T* x, T* dx) {
  map(n, dy, x, dx, [](compute_t<T> g, compute_t<T> v) { return v <= 0 ? compute_t<T>(0) : g; });
}

template <class T>
void sigmoid_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](compute_t<T> v) { return math::sigmoid(v); });
}
template <class T>
void sigmoid_backward(int64_t n, const T* dy, const T* y, T* dx) {
  map(n, dy, y, dx, [](compute_t<T> g, compute_t<T> s) { return g * s * (1 - s); });
}

template <class T>
void tanh_forward(int64_t n, const T* x, T* y) {
  map(n, x, y, [](compute_t<T> v) { return math::tanh(v); });
}
template <class T>
void tanh_backward(int64_t n, const T* dy, const T* y, T* dx) {
  map(n, dy, y, dx, [](compute_t<T> g, compute_t<T> t) { return g * (1 - t * t); });
}

#define INSTANTIATE(T)                                               \
  template void gelu_forward(int64_t, const T*, T*);                 \
  template void gelu_backward(int64_t, const T*, const T*, T*);      \
  template void gelu_tanh_forward(int64_t, const T*, T*);            \
  template void gelu_tanh_backward(int64_t, const T*, const T*, T*); \
  template void silu_forward(int64_t, const T*, T*);                 \
  template void silu_backward(int64_t, const T*, const T*, T*);      \
  template void relu_forward(int64_t, const T*, T*);                 \
  template void relu_backward(int64_t, const T*, const T*, T*);      \
  template void sigmoid_forward(int64_t, const T*, T*);              \
  template void sigmoid_backward(int64_t, const T*, const T*, T*);   \
  template void tanh_forward(int64_t, const T*, T*);                 \
  template void tanh_backward(int64_t, const T*, const T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
