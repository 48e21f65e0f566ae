#pragma once

// Elementwise activations on the GPU: the contract of activation.h, on device pointers and a
// stream.
//
// A thread maps one 16-byte vector. Bound: forward moves 2 n sizeof(T) bytes, backward 3; the
// functions take 2 to about 40 operations an element (the GELU with erf, backward), which the
// memory hides but for 16-bit types. Accuracy (float): as the CPU's, within a few ulp or, for GELU,
// 1e-6; sigmoids below 2^-126 are 0. Pointers that lie differently beyond a 16-byte boundary are
// mapped element by element.

#include <cstdint>

namespace plinth::kernels::cuda {

template <class T>
void gelu_forward(void* stream, int64_t n, const T* x, T* y);
template <class T>
void gelu_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void gelu_tanh_forward(void* stream, int64_t n, const T* x, T* y);
template <class T>
void gelu_tanh_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void gelu_quick_forward(void* stream, int64_t n, const T* x, T* y);
template <class T>
void gelu_quick_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void silu_forward(void* stream, int64_t n, const T* x, T* y);
template <class T>
void silu_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void relu_forward(void* stream, int64_t n, const T* x, T* y);
template <class T>
void relu_backward(void* stream, int64_t n, const T* dy, const T* x, T* dx);

template <class T>
void sigmoid_forward(void* stream, int64_t n, const T* x, T* y);
template <class T>
void sigmoid_backward(void* stream, int64_t n, const T* dy, const T* y, T* dx);

template <class T>
void tanh_forward(void* stream, int64_t n, const T* x, T* y);
template <class T>
void tanh_backward(void* stream, int64_t n, const T* dy, const T* y, T* dx);

}  // namespace plinth::kernels::cuda
