#pragma once

// Elementwise activations y = f(x) and their gradients dx = dy f'(x), over n contiguous elements.
//
//   gelu       x Phi(x), Phi the normal distribution function, by erf (Hendrycks & Gimpel 2016)
//   gelu_tanh  x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3): GPT-2's form
//   gelu_quick x sigmoid(1.702 x): CLIP's form (Hendrycks & Gimpel 2016, section 2)
//   silu       x sigmoid(x)
//   relu       max(x, 0); its gradient at 0 is 0; NaN stays NaN
//   sigmoid    1 / (1 + exp(-x))
//   tanh
//
// T: double, float, BFloat16, Float16; computed in compute_t<T>. Backward of sigmoid
// and tanh takes the output y, from which their gradients follow, y (1 - y) and 1 - y^2; of the
// others the input x.
// Accuracy (float): gelu within 1e-6 of the exact value (its negative tail, as in the usual formula
// with erf, has no relative accuracy), the others a few ulp; of a large finite x, x or 0 and the
// gradient 1 or 0. bfloat16 results below 2^-126 may become zero, here and in the other fused
// kernels. Aliasing: y may be x; dx may be either input.
// Bytes: forward reads and writes n elements; backward reads 2 n and writes n.

#include <cstdint>

namespace plinth::kernels::cpu {

template <class T>
void gelu_forward(int64_t n, const T* x, T* y);
template <class T>
void gelu_backward(int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void gelu_tanh_forward(int64_t n, const T* x, T* y);
template <class T>
void gelu_tanh_backward(int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void gelu_quick_forward(int64_t n, const T* x, T* y);
template <class T>
void gelu_quick_backward(int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void silu_forward(int64_t n, const T* x, T* y);
template <class T>
void silu_backward(int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void relu_forward(int64_t n, const T* x, T* y);
template <class T>
void relu_backward(int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void sigmoid_forward(int64_t n, const T* x, T* y);
template <class T>
void sigmoid_backward(int64_t n, const T* dy, const T* y, T* dx);

template <class T>
void tanh_forward(int64_t n, const T* x, T* y);
template <class T>
void tanh_backward(int64_t n, const T* dy, const T* y, T* dx);

}  // namespace plinth::kernels::cpu
