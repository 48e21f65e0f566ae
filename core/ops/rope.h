#pragma once

// Rotary position embedding (Su et al. 2021, arXiv 2104.09864). Derivatives of any order.

#include "core/tensor.h"
#include "kernels/rope/rope.h"

namespace plinth {

// How frequencies are stretched for contexts longer than those of pretraining.
using RopeScaling = kernels::cpu::RopeScaling;

// cos and sin of position times frequency, each [positions, rotary_dim / 2].
struct RopeTable {
  Tensor cos, sin;

  RopeTable to(Device device) const { return {cos.to(device), sin.to(device)}; }
};

// For positions 0 .. positions - 1, with frequencies theta^(-2 i / rotary_dim), scaled. dtype is
// that in which rope will compute: float64 for float64 tensors, else float32. Errors: Argument.
RopeTable rope_table(int64_t positions, int64_t rotary_dim, double theta = 10000,
                     const RopeScaling& scaling = {}, DType dtype = DType::Float32);

// Turns each pair of the first rotary_dim elements of x's heads [B, T, H, D] by its token's angle;
// the others are copied. Pairs are neighbours if interleaved (GPT-J), else halves apart (Llama).
// Token t of every batch has position offset + t. x may have any strides if the elements of a head
// are adjacent.
//
// Errors: Shape for an x that is not [B, T, H, D], D below rotary_dim, or tables that differ;
// DType; Argument for a position beyond the table.
Tensor rope(const Tensor& x, const RopeTable& table, int64_t offset = 0, bool interleaved = false);
// The same with positions int64 [B, T].
Tensor rope(const Tensor& x, const RopeTable& table, const Tensor& positions,
            bool interleaved = false);

}  // namespace plinth
