#pragma once

// Attention on sm_90a by TMA and wgmma, for bfloat16 and float16: the contract of attention.h.
//
// Layout   rows of whole 16-byte vectors, aligned to 16 bytes (head_dim and strides are multiples
//          of 8, and no stride is 0); head_dim up to 256: columns are rounded up to 64, 96, 128 or
//          256 with zeros, which TMA makes, so that head_dim 80 runs as 96 (gradients: 128).
// Lengths  below 2^30.

#include "kernels/attention/attention_cuda.h"
#include "kernels/device/device.h"

namespace plinth::kernels::cuda::attention {

// Whether a call has no pair of a query and a key.
inline bool nothing_to_do(const AttentionDesc& desc) {
  return desc.q_len == 0 || desc.kv_len == 0 || desc.batch == 0 || desc.heads == 0;
}

// Why these kernels do not take a call; null if they do. Whether the device has
// such instructions is left to the caller.
template <class T>
const char* hopper_obstacle(const AttentionDesc& desc, const T* q, const T* k, const T* v,
                            const T* out);

// Bytes of workspace with which the forward pass divides its work best; it does without.
size_t hopper_forward_workspace(const AttentionDesc& desc);

template <class T>
void hopper_forward(device::Stream stream, const AttentionDesc& desc, const T* q, const T* k,
                    const T* v, T* out, float* lse, void* workspace);

// What the backward pass reads and writes.
template <class T>
struct Gradients {
  const T *dout, *q, *k, *v, *out;
  T *dq, *dk, *dv;
};

template <class T>
const char* hopper_backward_obstacle(const AttentionDesc& desc, const Gradients<T>& operands);

template <class T>
size_t hopper_backward_workspace(const AttentionDesc& desc);

// Overwrites dq, dk and dv.
template <class T>
void hopper_backward(device::Stream stream, const AttentionDesc& desc, const Gradients<T>& operands,
                     const float* lse, void* workspace);

}  // namespace plinth::kernels::cuda::attention
