#pragma once

// SwiGLU (Shazeer 2020, arXiv 2002.05202): y = silu(gate) up, with s = sigmoid(gate)
//
//   dgate = dy up s (1 + gate (1 - s)),   dup = dy gate s
//
// gate, up and their gradients are [rows, cols] of T whose rows lie `stride` elements apart, so
// that they may be the halves of one [rows, 2 cols] buffer; y and dy are contiguous. T: double,
// float, BFloat16, Float16; computed in compute_t<T>. Aliasing: dgate may be gate and dup may be up
// (same stride); y may be either where that is contiguous. Bytes: forward reads two matrices and
// writes one; backward reads three and writes two.

#include <cstdint>

namespace plinth::kernels::cpu {

template <class T>
void swiglu_forward(int64_t rows, int64_t cols, const T* gate, int64_t gate_stride, const T* up,
                    int64_t up_stride, T* y);

template <class T>
void swiglu_backward(int64_t rows, int64_t cols, const T* dy, const T* gate, int64_t gate_stride,
                     const T* up, int64_t up_stride, T* dgate, int64_t dgate_stride, T* dup,
                     int64_t dup_stride);

}  // namespace plinth::kernels::cpu
