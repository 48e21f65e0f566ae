#pragma once

// The rule by which a kernel is compiled for a functor (custom.h): all of Described (score.cuh),
// and the functor's mask, its change of the score, and its map of blocks.

#include "kernels/attention/custom.h"
#include "kernels/attention/score.cuh"

namespace plinth::kernels::cuda::attention {

using cpu::AttentionPair;
using cpu::BlockSight;

// The map of a functor that hides pairs.
struct BlockMap {
  Global<const BlockSight> blocks;
  int64_t problem_stride = 0, head_stride = 0;
  int32_t key_blocks = 0, shift = 0;  // a block has 2^shift rows of either side

  explicit BlockMap(const cpu::CustomScore& score)
      : blocks(score.blocks),
        problem_stride(score.problem_stride),
        head_stride(score.head_stride),
        key_blocks(static_cast<int32_t>(score.key_blocks)),
        shift(std::countr_zero(static_cast<uint64_t>(score.block))) {}

  // What some queries of a problem see of some keys, neither of which are none.
  PLINTH_DEVICE BlockSight sight(int64_t problem, int64_t head, const Range& queries,
                                 const Range& keys) const {
    const Global<const BlockSight> map = blocks + (problem * problem_stride + head * head_stride);
    const auto first_key = static_cast<int32_t>(keys.begin >> shift);
    const auto last_key = static_cast<int32_t>((keys.end - 1) >> shift);
    const auto last_query = static_cast<int32_t>((queries.end - 1) >> shift);
    bool empty = true, full = true;
    for (auto i = static_cast<int32_t>(queries.begin >> shift); i <= last_query; ++i) {
      for (int32_t j = first_key; j <= last_key; ++j) {
        const BlockSight block = map[int64_t{i} * key_blocks + j];
        empty = empty && block == BlockSight::Empty;
        full = full && block == BlockSight::Full;
      }
    }
    if (empty) return BlockSight::Empty;
    return full ? BlockSight::Full : BlockSight::Partial;
  }
};

// Scores of one head of one problem.
template <class T, class F>
struct CustomScoreOfHead : ScoreOfHead<T> {
  using C = compute_t<T>;
  using Base = ScoreOfHead<T>;
  const F* functor;
  AttentionPair place;  // of query 0 and key 0
  bool asks = true;     // pairs whether they are seen; not in a tile where all are

  PLINTH_DEVICE CustomScoreOfHead(const Base& base, const F* f, const AttentionPair& at)
      : Base(base), functor(f), place(at) {}

  PLINTH_DEVICE AttentionPair pair(int64_t query, int64_t key) const {
    AttentionPair at = place;
    at.query = query;
    at.key = key;
    return at;
  }
  // Besides the description's own mask.
  PLINTH_DEVICE bool sees(int64_t query, int64_t key) const {
    if constexpr (cpu::MasksPairs<F>) {
      return !asks || functor->visible(pair(query, key));
    } else {
      return true;
    }
  }
  PLINTH_DEVICE Score<C> at(C product, int64_t query, int64_t key) const {
    if constexpr (cpu::ChangesScores<F>) {
      const AttentionPair at = pair(query, key);
      const C x = product * this->scale;
      return this->bend({C(functor->score(x, at)), C(functor->slope(x, at))}, query, key);
    } else {
      return Base::at(product, query, key);
    }
  }
};

template <class T, class F>
struct Custom : Described<T> {
  static_assert(std::is_trivially_copyable_v<F> && sizeof(F) <= 1024,
                "a functor is copied to the GPU as bytes, as an argument of its kernels");
  static constexpr bool kMasks = cpu::MasksPairs<F>;
  F functor;
  BlockMap map;
  // Of hopper/'s backward pass (backward_order.cuh).
  Global<const int32_t> order{};
  int64_t order_head_stride = 0;

  // `d` has a custom of F.
  explicit Custom(const AttentionDesc& d)
      : Described<T>(d), functor(*static_cast<const F*>(d.custom->functor)), map(*d.custom) {}

  PLINTH_DEVICE CustomScoreOfHead<T, F> of(const Problem& p, int64_t head) const {
    return {Described<T>::of(p, head), &functor, {p.sample, head, 0, 0, p.q_len, p.kv_len}};
  }

  // What queries [queries.begin, queries.end) of a problem see of keys, as far as there are any;
  // `score` asks from now on, if need be.
  PLINTH_DEVICE BlockSight look(CustomScoreOfHead<T, F>& score, Range queries, Range keys) const {
    if constexpr (!kMasks) return BlockSight::Full;
    const AttentionPair& at = score.place;
    queries.end = least(queries.end, at.q_len);
    keys.end = least(keys.end, at.kv_len);
    const BlockSight sight = map.sight(at.batch, at.head, queries, keys);
    score.asks = sight != BlockSight::Full;
    return sight;
  }
};

// For kernels that take a template of the type alone.
template <class F>
struct CustomOf {
  template <class T>
  using Rule = Custom<T, F>;
};

}  // namespace plinth::kernels::cuda::attention
