#include "kernels/activation/activation_cuda.h"

#include "kernels/activation/activation_math.cuh"
#include "kernels/instantiate.h"
#include "kernels/rows_cuda.cuh"

namespace plinth::kernels::cuda {
namespace {

template <class T>
struct Relu {
  using C = compute_t<T>;
  PLINTH_DEVICE static C value(C x) { return x < 0 ? C(0) : x; }
};
template <class T>
struct Sigmoid {
  using C = compute_t<T>;
  PLINTH_DEVICE static C value(C x) { return sigmoid_as<T>(x); }
};
template <class T>
struct Tanh {
  using C = compute_t<T>;
  PLINTH_DEVICE static C value(C x) { return std::tanh(x); }
};

// dx from dy and the input, or the output, of the forward pass.
template <class T, template <class> class F>
struct ChainRule {
  using C = compute_t<T>;
  PLINTH_DEVICE static C value(C dy, C x) { return dy * F<T>::gradient(x); }
};
template <class T>
struct ReluGradient {
  using C = compute_t<T>;
  PLINTH_DEVICE static C value(C dy, C x) { return x <= 0 ? C(0) : dy; }
};
template <class T>
struct SigmoidGradient {
  using C = compute_t<T>;
  PLINTH_DEVICE static C value(C dy, C y) { return dy * y * (1 - y); }
};
template <class T>
struct TanhGradient {
  using C = compute_t<T>;
  PLINTH_DEVICE static C value(C dy, C y) { return dy * (1 - y * y); }
};

constexpr uint32_t kThreads = 256;

PLINTH_DEVICE int64_t grid_thread() {
  return static_cast<int64_t>(block_index().x) * block_threads() + thread_index();
}
PLINTH_DEVICE int64_t grid_threads() {
  return static_cast<int64_t>(grid_blocks().x) * block_threads();
}

template <class F, class T>
PLINTH_KERNEL void map_kernel(int64_t n, int64_t offset, Global<const T> x, Global<T> y) {
  for_columns<T>(grid_thread(), grid_threads(), 0, n, offset, [&](int64_t i, auto part) {
    compute_t<T> v[part.kSize];
    read<T>(x + i, v);
    PLINTH_UNROLL
    for (int e = 0; e < part.kSize; ++e) v[e] = F::value(v[e]);
    write<T>(y + i, v);
  });
}

template <class F, class T>
PLINTH_KERNEL void map_pair_kernel(int64_t n, int64_t offset, Global<const T> a, Global<const T> b,
                                   Global<T> y) {
  for_columns<T>(grid_thread(), grid_threads(), 0, n, offset, [&](int64_t i, auto part) {
    compute_t<T> v[part.kSize], w[part.kSize];
    read<T>(a + i, v);
    read<T>(b + i, w);
    PLINTH_UNROLL
    for (int e = 0; e < part.kSize; ++e) v[e] = F::value(v[e], w[e]);
    write<T>(y + i, v);
  });
}

// A thread for each vector.
template <class T>
LaunchShape shape_of(int64_t n) {
  const int64_t vectors = ceil_div(n, kVectorWidth<T>);
  return {{static_cast<uint32_t>(ceil_div(vectors, kThreads))}, {kThreads}, 0};
}

template <class F, class T>
void map(void* stream, int64_t n, const T* x, T* y) {
  if (n == 0) return;
  launch("activation_forward", map_kernel<F, T>, shape_of<T>(n), static_cast<Stream>(stream), n,
         common_offset(x, y), x, y);
}

template <class F, class T>
void map(void* stream, int64_t n, const T* a, const T* b, T* y) {
  if (n == 0) return;
  launch("activation_backward", map_pair_kernel<F, T>, shape_of<T>(n), static_cast<Stream>(stream),
         n, common_offset(a, b, y), a, b, y);
}

}  // namespace

template <class T>
void gelu_forward(void* stream, int64_t n, const T* x, T* y) {
  map<Gelu<T>>(stream, n, x, y);
}
template <class T>
void gelu_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx) {
  map<ChainRule<T, Gelu>>(stream, n, dy, x, dx);
}
template <class T>
void gelu_tanh_forward(void* stream, int64_t n, const T* x, T* y) {
  map<GeluTanh<T>>(stream, n, x, y);
}
template <class T>
void gelu_tanh_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx) {
  map<ChainRule<T, GeluTanh>>(stream, n, dy, x, dx);
}
template <class T>
void gelu_quick_forward(void* stream, int64_t n, const T* x, T* y) {
  map<GeluQuick<T>>(stream, n, x, y);
}
template <class T>
void gelu_quick_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx) {
  map<ChainRule<T, GeluQuick>>(stream, n, dy, x, dx);
}
template <class T>
void silu_forward(void* stream, int64_t n, const T* x, T* y) {
  map<Silu<T>>(stream, n, x, y);
}
template <class T>
void silu_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx) {
  map<ChainRule<T, Silu>>(stream, n, dy, x, dx);
}
template <class T>
void relu_forward(void* stream, int64_t n, const T* x, T* y) {
  map<Relu<T>>(stream, n, x, y);
}
template <class T>
void relu_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx) {
  map<ReluGradient<T>>(stream, n, dy, x, dx);
}
template <class T>
void sigmoid_forward(void* stream, int64_t n, const T* x, T* y) {
  map<Sigmoid<T>>(stream, n, x, y);
}
template <class T>
void sigmoid_backward(void* stream, int64_t n, const T* dy, const T* y, T* dx) {
  map<SigmoidGradient<T>>(stream, n, dy, y, dx);
}
template <class T>
void tanh_forward(void* stream, int64_t n, const T* x, T* y) {
  map<Tanh<T>>(stream, n, x, y);
}
template <class T>
void tanh_backward(void* stream, int64_t n, const T* dy, const T* y, T* dx) {
  map<TanhGradient<T>>(stream, n, dy, y, dx);
}

#define PLINTH_INSTANTIATE_ONE(name, T)                          \
  template void name##_forward<T>(void*, int64_t, const T*, T*); \
  template void name##_backward<T>(void*, int64_t, const T*, const T*, T*);
#define PLINTH_INSTANTIATE(T)           \
  PLINTH_INSTANTIATE_ONE(gelu, T)       \
  PLINTH_INSTANTIATE_ONE(gelu_tanh, T)  \
  PLINTH_INSTANTIATE_ONE(gelu_quick, T) \
  PLINTH_INSTANTIATE_ONE(silu, T)       \
  PLINTH_INSTANTIATE_ONE(relu, T)       \
  PLINTH_INSTANTIATE_ONE(sigmoid, T)    \
  PLINTH_INSTANTIATE_ONE(tanh, T)
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE
#undef PLINTH_INSTANTIATE_ONE

}  // namespace plinth::kernels::cuda
