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
// Calls use(description, the same on the CPU) with the shape of a call of attention, checked under
// the name "custom_attention". The lengths of the first are on q's device.
void with_attention_shape(const Tensor& q, const Tensor& k, const AttentionOptions& options,
                          const std::function<void(const kernels::cpu::AttentionDesc&,
                                                   const kernels::cpu::AttentionDesc&)>& use);
// The map of a functor, on q's GPU; undefined where it has none.
Tensor map_beside(const Tensor& q, const kernels::cpu::AttentionDesc& shape,
                  const kernels::cpu::CustomScore& custom);
}  // namespace detail

// The functor with its block map, for any number of calls on tensors of these shapes and q's
// device; of options, cu_seqlens count: where the functor masks pairs, a call with others is
// refused. Computing the map asks visible() about every pair once, so it is kept between calls. For
// tensors of a GPU the functor is compiled into the kernels: the call stands in a .cu file that
// includes kernels/attention/custom_cuda.cuh before it.
//
// Errors: those of attention for shapes that do not fit; Device for a q on a GPU where the functor
// is compiled for the CPU alone.
template <class F, class DeviceCode = decltype(device_code(kernels::cpu::OfFunctor<F>{}))>
std::shared_ptr<const kernels::cpu::CustomScore> custom_attention(
    F functor, const Tensor& q, const Tensor& k, const AttentionOptions& options = {}) {
  using Custom = kernels::cpu::CustomAttention<F>;
  struct Kept {
    std::unique_ptr<Custom> custom;
    Tensor map;
  };
  const auto kept = std::make_shared<Kept>();
  using Desc = kernels::cpu::AttentionDesc;
  detail::with_attention_shape(q, k, options, [&](const Desc& shape, const Desc& on_cpu) {
    if (q.device().is_cpu()) {
      kept->custom = std::make_unique<Custom>(std::move(functor), shape);
      return;
    }
    kept->custom = std::make_unique<Custom>(std::move(functor), shape, DeviceCode::kernels());
    kept->custom->keep_offsets(on_cpu);
    kept->map = detail::map_beside(q, shape, kept->custom->score());
    const void* blocks = kept->map.defined() ? kept->map.raw_data() : nullptr;
    kept->custom->set_map(static_cast<const kernels::cpu::BlockSight*>(blocks), q.device().index);
  });
  return {kept, &kept->custom->score()};
}

}  // namespace plinth
