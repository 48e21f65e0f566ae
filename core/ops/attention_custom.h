#pragma once

// Masks and changes of scores of one's own in attention, as a functor (kernels/attention/custom.h):
//
//   struct PrefixLm {
//     int64_t prefix;
//     PLINTH_HOST_DEVICE bool visible(const AttentionPair& at) const {
//       return at.key < prefix || at.key <= at.query;
//     }
//   };
//   attention(q, k, v, {.custom = custom_attention(PrefixLm{3}, q, k)});

#include <functional>
#include <memory>

#include "core/ops/attention.h"
#include "kernels/attention/custom.h"

namespace plinth {

using kernels::cpu::AttentionPair;

namespace detail {
// Calls use(description) with the shape of a call of attention, checked under the name
// "custom_attention".
void with_attention_shape(const Tensor& q, const Tensor& k, const AttentionOptions& options,
                          const std::function<void(const kernels::cpu::AttentionDesc&)>& use);
}  // namespace detail

// The functor with its block map, for any number of calls on tensors of these shapes; of options,
// cu_seqlens count. Computing the map asks visible() about every pair once, so it is kept between
// calls. On the CPU; a GPU is refused.
//
// Errors: those of attention for shapes that do not fit.
template <class F>
std::shared_ptr<const kernels::cpu::CustomScore> custom_attention(
    F functor, const Tensor& q, const Tensor& k, const AttentionOptions& options = {}) {
  using Custom = kernels::cpu::CustomAttention<F>;
  std::shared_ptr<const Custom> custom;
  detail::with_attention_shape(q, k, options, [&](const kernels::cpu::AttentionDesc& shape) {
    custom = std::make_shared<const Custom>(std::move(functor), shape);
  });
  return {custom, &custom->score()};
}

}  // namespace plinth
