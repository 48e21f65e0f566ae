#pragma once

// The gradients of bias and sinks on the CPU, each element of which is one task's sum. They are
// passes of their own, which recompute p and ds (4 q kv head_dim operations a head): so a sum over
// batch elements, heads, queries or keys has one order, without a copy of dbias for each of them.

#include "kernels/attention/gradient_tile.h"

namespace plinth::kernels::cpu::attention {

// Overwrites desc.dbias, in the order batch, head, query, key for what it is broadcast along.
template <class T>
void bias_gradient(const AttentionDesc& desc, const GradientInputs<T>& in);

// Overwrites desc.dsinks.
template <class T>
void sink_gradient(const AttentionDesc& desc, const GradientInputs<T>& in);

}  // namespace plinth::kernels::cpu::attention
