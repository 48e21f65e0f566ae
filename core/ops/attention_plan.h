#pragma once

// What the attention ops share: their checks, and the description that their kernels get. Only
// core/ops includes this.

#include <string_view>

#include "core/ops/attention.h"
#include "kernels/attention/attention.h"

namespace plinth {

// What attention must remember besides its operands: lengths of keys, on the device on which they
// were given, and those of packed sequences, on the CPU, where they are checked and counted; and
// what bends its scores, in the dtypes that kernels take, undefined where it is not given.
struct AttentionPlan {
  kernels::cpu::AttentionDesc desc;
  Tensor kv_lengths, cu_seqlens_q, cu_seqlens_k;
  Tensor alibi_slopes, bias, sinks;
  std::shared_ptr<const kernels::cpu::CustomScore> custom;

  // The description with its lengths on the device of the operands, in tensors that it holds, and
  // with pointers to what bends scores.
  AttentionPlan beside(const Tensor& q) const;
};

// Checks what attention() and paged_attention() of q both have.
void check_score_options(const Tensor& q, int64_t window, double scale, double soft_cap,
                         std::string_view op);

// All checks of q, k and options.
AttentionPlan attention_plan(const Tensor& q, const Tensor& k, const AttentionOptions& options,
                             std::string_view op);

// v must fit k.
void check_values(const Tensor& v, const Tensor& q, const Tensor& k, std::string_view op);

// x off the graph, with the elements of a head adjacent.
Tensor adjacent(const Tensor& x);

kernels::cpu::AttentionDesc::Strides strides_of(const Tensor& x);

// Those of x, broadcast to the scores of `desc`: 0 where x has one element for several.
kernels::cpu::AttentionDesc::BiasStrides bias_strides_of(const Tensor& x);

}  // namespace plinth
