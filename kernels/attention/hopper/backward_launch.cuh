#pragma once

// The launch of the backward kernel for sm_90a, and of what stands before it.

#include "kernels/attention/hopper/backward_described.cuh"
#include "kernels/attention/hopper/backward_scaled.cuh"
#include "kernels/attention/hopper/backward_wide.cuh"
#include "kernels/attention/hopper/maps.h"

namespace plinth::kernels::cuda::attention {

// Calls f.operator()<columns>() with the least that hold head_dim.
template <class F>
void with_backward_columns(int64_t head_dim, F f) {
  if (head_dim <= 64) return f.template operator()<64>();
  if (head_dim <= 128) return f.template operator()<128>();
  return f.template operator()<256>();
}

template <class Rule>
KeySchedule key_schedule(const AttentionDesc& d, int64_t keys) {
  const int32_t blocks = device_limits().multiprocessors;
  const bool packed = d.cu_seqlens_k != nullptr;
  const int64_t tiles = tiles_of(d, d.kv_len, keys), tiles_each = ceil_div(d.kv_len, keys);
  KeySchedule s;
  s.tiles = static_cast<int32_t>(tiles);
  s.heads = static_cast<int32_t>(d.kv_heads);
  s.count = s.tiles * s.heads;
  if (Rule::kMasks) return s;
  if (!d.causal && d.window == 0 && (d.kv_lengths || packed || tiles_each <= blocks))
    s.shifted_limit = blocks;
  if (d.causal && !packed && tiles > 0) {
    s.problems = static_cast<int32_t>(d.batch);
    s.together = static_cast<int32_t>(std::max<int64_t>(1, blocks / tiles_each));
  }
  return s;
}

template <class Tile, class T, class Rule>
using BackwardConsumerOf =
    std::conditional_t<Tile::kWide, WideBackwardConsumer<Tile, T, Rule>,
                       std::conditional_t<Rule::kScaleOnly, ScaledBackwardConsumer<Tile, T, Rule>,
                                          DescribedBackwardConsumer<Tile, T, Rule>>>;

template <class T, int kColumns, class Rule>
void launch_hopper_backward(Stream stream, const AttentionDesc& d, const Gradients<T>& x,
                            const BackwardWorkspace& workspace, const Rule& rule) {
  using Tile = BackwardTile<T, kColumns>;
  using Consumer = BackwardConsumerOf<Tile, T, Rule>;
  const KeySchedule schedule = key_schedule<Rule>(d, Tile::kKeys);
  const auto blocks =
      static_cast<uint32_t>(std::min(schedule.count, device_limits().multiprocessors));
  const BackwardArguments<T, Rule> arguments{d,
                                             {d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k},
                                             rule,
                                             Dropout<float>(d),
                                             workspace,
                                             schedule,
                                             static_cast<int32_t>(d.heads / d.kv_heads),
                                             x.dq,
                                             x.dk,
                                             x.dv};
  const auto map = [&](const T* p, const AttentionDesc::Strides& s, int64_t heads, int64_t length,
                       int64_t rows) {
    return head_map(p, s, d, heads, length, rows, Tile::kBoxColumns, Tile::kSwizzle);
  };
  launch("hopper_attention_backward", hopper_backward_kernel<Consumer, T, Rule>,
         {.grid = {blocks},
          .block = {Tile::kThreads},
          .shared_bytes = Tile::kSharedBytes,
          .together = schedule.shifted_limit > 0},
         stream, map(x.q, d.q, d.heads, d.q_len, Tile::kQueries),
         map(x.k, d.k, d.kv_heads, d.kv_len, Tile::kKeys),
         map(x.v, d.v, d.kv_heads, d.kv_len, Tile::kKeys),
         map(x.dout, d.dout, d.heads, d.q_len, Tile::kQueries),
         head_map(x.dq, d.dq, d, d.heads, d.q_len, Tile::kQueries, Tile::kDqColumns, Swizzle::None),
         map(x.dk, d.dk, d.kv_heads, d.kv_len, 64), map(x.dv, d.dv, d.kv_heads, d.kv_len, 64),
         arguments);
}

// What stands before the kernel, whatever its rule (backward_rows.cuh). `order` is that of a
// functor that masks, or null.
template <class T, int kColumns>
void begin_hopper_backward(Stream stream, const AttentionDesc& d, const Gradients<T>& x,
                           const float* lse, const BackwardWorkspace& workspace,
                           const int32_t* order);

}  // namespace plinth::kernels::cuda::attention
