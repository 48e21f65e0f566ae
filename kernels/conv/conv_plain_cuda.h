#pragma once

// Convolutions on the GPU by plain loops: the contract of conv.h, on device pointers and a stream.
// They serve what cuDNN does not take, and are no match for it on what it does take.
//
// Bound: loads from the caches, two for each multiply-add.
//
// Determinism: a thread adds an element of y or dx in one chain; a warp one of dweight, each lane
// every 32nd term, then across lanes.

#include "kernels/conv/conv.h"

namespace plinth::kernels::cuda::plain {

using cpu::ConvDesc;

template <class T>
void conv_forward(void* stream, const ConvDesc& desc, const T* x, const T* weight, const T* bias,
                  T* y);

template <class T>
void conv_backward_input(void* stream, const ConvDesc& desc, const T* dy, const T* weight, T* dx);

template <class T>
void conv_backward_weight(void* stream, const ConvDesc& desc, const T* dy, const T* x, T* dweight);

// y[n, o, p] += bias[o]: what a convolution of cuDNN leaves to do.
template <class T>
void conv_add_bias(void* stream, const ConvDesc& desc, const T* bias, T* y);

}  // namespace plinth::kernels::cuda::plain
