#pragma once

// Attention on the GPU: the contract of attention.h, on a stream. All pointers are the device's,
// and so are those of the description. attention_path() says which kernel serves a call, and why:
//
//   plain/        every head dimension up to 256, layout and float type, in ordinary arithmetic:
//                 the reference for the others, and what runs where those do not fit
//   tensor_core/  bfloat16 and float16 by mma.sync, from sm_80 on
//   hopper/       bfloat16 and float16 by TMA and wgmma, on sm_90a
//   decode/       few queries to many keys, forward: splits of the keys, each read once for all
//                 query heads that share it
//
// Where plain/ serves 16-bit types, or tensor_core/ a GPU that has hopper/, the first call for a
// reason writes it to stderr.
//
// A functor (desc.custom) has its own hopper/, tensor_core/ and plain/, compiled with it by
// custom_cuda.cuh.
//
// Determinism: sums that blocks share have one order; the same description and numbers give the
// same bits, and the rows of a sequence do not depend on what stands beside it in the batch.

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/attention/custom.h"
#include "kernels/types.h"

namespace plinth::kernels::cuda {

using cpu::AttentionDesc;

enum class AttentionKernel : uint8_t { Plain, TensorCore, Hopper, Decode };

// "plain", "tensor_core", "hopper" or "decode".
const char* name_of(AttentionKernel kernel);

struct AttentionPath {
  AttentionKernel kernel = AttentionKernel::Plain;
  std::string why;  // this one, and not a faster one
};

// Which kernel serves a call on the thread's current device, whose pointers are aligned to 16
// bytes.
template <class T>
AttentionPath attention_path(const AttentionDesc& desc, bool backward);

// Bytes of workspace of the forward pass: of decode/ with more than one split, and of hopper/ where
// queries see keys in different number.
template <class T>
size_t attention_forward_workspace(const AttentionDesc& desc);

// Without a workspace, another kernel serves what decode/ would need one for, and hopper/ divides
// its work as it can.
template <class T>
void attention_forward(void* stream, const AttentionDesc& desc, const T* q, const T* k, const T* v,
                       T* out, compute_t<T>* lse, void* workspace = nullptr);

// Bytes of workspace that the backward pass needs, whichever kernel serves it.
template <class T>
size_t attention_backward_workspace(const AttentionDesc& desc);

// Overwrites dq, dk, dv, and desc.dbias and desc.dsinks where given.
template <class T>
void attention_backward(void* stream, const AttentionDesc& desc, const T* dout, const T* q,
                        const T* k, const T* v, const T* out, const compute_t<T>* lse, T* dq, T* dk,
                        T* dv, void* workspace);

// ---- a functor, whose on_cuda is not null ----

// Whether it is compiled for elements of T, and for a head_dim. No call may have another.
template <class T>
bool custom_has_type(const cpu::CustomScore& custom);
bool custom_has_head_dim(const cpu::CustomScore& custom, int64_t head_dim);

// Writes its map, of custom.block_count() blocks, for calls of the description's shape. Of the
// description, the lengths and cu_seqlens count.
void make_block_map(void* stream, const AttentionDesc& desc, const cpu::CustomScore& custom,
                    cpu::BlockSight* blocks);

}  // namespace plinth::kernels::cuda
