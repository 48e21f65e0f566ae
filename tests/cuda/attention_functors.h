#pragma once

// Functors of attention_custom_test.cpp, which are compiled for the GPU (attention_functors.cu).

#include "core/ops/attention_custom.h"

namespace plinth {

// A prefix of 70 keys, and those before; a score that bends. In float32 and bfloat16, head_dim 64.
std::shared_ptr<const kernels::cpu::CustomScore> bent_prefix(const Tensor& q, const Tensor& k,
                                                             const AttentionOptions& options = {});

}  // namespace plinth
