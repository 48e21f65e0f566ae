#pragma once

// The map of a functor's blocks, made on the GPU: a warp takes a block, its lanes every 32nd pair.
// One call of visible() for each pair of the shape, and a byte written for each block; in no order
// that could matter.

#include "kernels/attention/custom_rule.cuh"

namespace plinth::kernels::cuda::attention {

inline constexpr int kMapWarps = 8;

struct MapShape {
  int64_t heads, query_blocks, key_blocks, block, count;

  explicit MapShape(const cpu::CustomScore& score)
      : heads(score.head_stride == 0 ? 1 : score.heads),
        query_blocks(score.query_blocks),
        key_blocks(score.key_blocks),
        block(score.block),
        count(score.block_count()) {}
};

template <class F>
PLINTH_KERNEL void block_map_kernel(AttentionDesc d, Lengths lengths, F functor, MapShape shape,
                                    Global<BlockSight> blocks) {
  const int64_t number = int64_t{block_index().x} * kMapWarps + warp_index();
  if (number >= shape.count) return;
  const int64_t row = number / shape.key_blocks, above = row / shape.query_blocks;
  AttentionPair at{above / shape.heads, above % shape.heads, 0, 0, d.q_len, d.kv_len};
  if (lengths.cu_seqlens_q) {
    const int64_t q = lengths.cu_seqlens_q[at.batch], q_end = lengths.cu_seqlens_q[at.batch + 1];
    const int64_t k = lengths.cu_seqlens_k[at.batch], k_end = lengths.cu_seqlens_k[at.batch + 1];
    at.q_len = q_end - q, at.kv_len = k_end - k;
  }
  const int64_t query = row % shape.query_blocks * shape.block;
  const int64_t key = number % shape.key_blocks * shape.block;
  bool some = false, every = true;
  for (int64_t i = lane_index(); i < shape.block * shape.block; i += 32) {
    at.query = query + i / shape.block, at.key = key + i % shape.block;
    if (at.query >= at.q_len || at.key >= at.kv_len) continue;
    const bool seen = functor.visible(at);
    some = some || seen;
    every = every && seen;
  }
  some = any(some), every = all(every);
  if (lane_index() != 0) return;
  blocks[number] = !some ? BlockSight::Empty : every ? BlockSight::Full : BlockSight::Partial;
}

template <class F>
void launch_block_map(Stream stream, const AttentionDesc& d, const cpu::CustomScore& score,
                      BlockSight* blocks) {
  if constexpr (cpu::MasksPairs<F>) {
    const MapShape shape(score);
    if (shape.count == 0) return;
    launch("attention_block_map", block_map_kernel<F>,
           {{static_cast<uint32_t>(ceil_div(shape.count, kMapWarps))}, {32 * kMapWarps}}, stream, d,
           Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k},
           *static_cast<const F*>(score.functor), shape, blocks);
  }
}

}  // namespace plinth::kernels::cuda::attention
