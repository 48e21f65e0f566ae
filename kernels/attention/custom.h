#pragma once

// Masks and changes of scores of one's own: a small functor, which is host and device code.
//
//   struct PrefixLm {
//     int64_t prefix;
//     PLINTH_HOST_DEVICE bool visible(const AttentionPair& at) const {
//       return at.key < prefix || at.key <= at.query;
//     }
//   };
//
// A functor has visible(at), or score(x, at) and slope(x, at), or all three. It is copied, and
// depends on nothing that changes.
//
//   visible(at)    whether the query sees the key, if the description's own mask lets it
//   score(x, at)   what stands for x = scale q . k, before soft cap, ALiBi and bias; x and the
//                  result are float, or double for float64, so that a template serves both
//   slope(x, at)   d score / d x
//
// CustomAttention<F> computes once, for all blocks of kBlock queries by kBlock keys, whether a
// query sees a key there (a byte for 4096 scores); kernels skip empty blocks, and ask about pairs
// in partial ones only. Where F::kAllHeadsAlike or F::kAllBatchesAlike is true, one map serves all
// heads, or all batch elements.
//
// The CPU's kernels call a functor through pointers, a row of a tile at a time, and are compiled
// once. A GPU's have it inlined: they are compiled with it, by nvcc, where custom_cuda.cuh is
// included. That takes minutes for all dtypes and head dimensions; a functor may have less:
//
//   using OnlyTypes = std::tuple<BFloat16>;
//   static constexpr int64_t kOnlyHeadDims[] = {64, 128};
//
// Source of the idea: FlexAttention (arXiv 2412.05496).

#include <algorithm>
#include <bit>
#include <concepts>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"

namespace plinth::kernels::cuda {
struct CustomKernels;  // custom_kernels.h
}

namespace plinth::kernels::cpu {

// A score's place. Queries and keys count from the start of their sequence.
struct AttentionPair {
  int64_t batch = 0, head = 0;  // batch: the element, or the sequence of a packed batch
  int64_t query = 0, key = 0;
  int64_t q_len = 0, kv_len = 0;
};

template <class F>
concept MasksPairs = requires(const F& f, const AttentionPair& at) {
  { f.visible(at) } -> std::convertible_to<bool>;
};
template <class F>
concept ChangesScores = requires(const F& f, const AttentionPair& at) {
  { f.score(0.0f, at) } -> std::convertible_to<float>;
  { f.slope(0.0f, at) } -> std::convertible_to<float>;
};

// Whether one map serves all heads, or all batch elements.
template <class F>
inline constexpr bool kHeadsAlike = requires {
  requires F::kAllHeadsAlike;
};
template <class F>
inline constexpr bool kBatchesAlike = requires {
  requires F::kAllBatchesAlike;
};

// What the queries of a block see of its keys.
enum class BlockSight : uint8_t { Empty, Partial, Full };

// A functor's calls for `count` pairs from `first` on, along the keys. Scores are in units of
// log 2.
template <class C>
struct CustomRows {
  // -inf for pairs that are hidden; null: none are.
  void (*hide)(const void* functor, AttentionPair first, int count, C* scores) = nullptr;
  // Null: scores stay as they are. slopes, if not null, gets d score / d x.
  void (*change)(const void* functor, AttentionPair first, int count, C* scores,
                 C* slopes) = nullptr;
};

// A functor as kernels see it. CustomAttention makes it.
struct CustomScore {
  const void* functor = nullptr;
  CustomRows<float> of_float;
  CustomRows<double> of_double;

  // What the map was made for: elements or sequences, heads of q, and rows.
  int64_t problems = 0, heads = 0, q_len = 0, kv_len = 0;
  // And of packed sequences their offsets; on the CPU, wherever the map is.
  std::vector<int64_t> cu_seqlens_q, cu_seqlens_k;
  // [problems, heads, query blocks, key blocks], the first two with strides of their own; null
  // where nothing is hidden. In memory of GPU `device`, or of the CPU where that is -1.
  const BlockSight* blocks = nullptr;
  int64_t block = 0, query_blocks = 0, key_blocks = 0, problem_stride = 0, head_stride = 0;
  int device = -1;
  // The functor's kernels on a GPU; null where it is compiled for the CPU alone.
  const cuda::CustomKernels* on_cuda = nullptr;

  template <class C>
  const CustomRows<C>& rows() const {
    if constexpr (sizeof(C) == sizeof(float)) {
      return of_float;
    } else {
      return of_double;
    }
  }

  // Whether some pairs may be hidden, and there is a map.
  bool hides() const { return block > 0; }
  // How many blocks the map holds.
  int64_t block_count() const {
    return (problem_stride == 0 ? std::min<int64_t>(1, problems) : problems) *
           (head_stride == 0 ? std::min<int64_t>(1, heads) : heads) * query_blocks * key_blocks;
  }

  // What queries [at.query, last_query] see of keys [at.key, last_key], by their blocks.
  BlockSight sight(const AttentionPair& at, int64_t last_query, int64_t last_key) const {
    if (!blocks) return BlockSight::Full;
    const BlockSight* const map = blocks + at.batch * problem_stride + at.head * head_stride;
    const BlockSight first = map[at.query / block * key_blocks + at.key / block];
    for (int64_t i = at.query / block; i <= last_query / block; ++i)
      for (int64_t j = at.key / block; j <= last_key / block; ++j)
        if (map[i * key_blocks + j] != first) return BlockSight::Partial;
    return first;
  }
};

// Writes in `score` how a map of a description's shape lies.
void lay_out_blocks(const AttentionDesc& d, int64_t block, bool all_heads_alike,
                    bool all_batches_alike, CustomScore& score);

// The blocks of a description's shape, which lie as `score` says. `look` tells of the one that
// begins at a pair.
std::vector<BlockSight> block_map(const AttentionDesc& d, const CustomScore& score,
                                  BlockSight (*look)(const void* functor,
                                                     const AttentionPair& first));

// A functor with its block map, for calls of one shape. It stays where it is, for score() points
// into it.
template <class F, int kBlock = 64>
requires MasksPairs<F> || ChangesScores<F>
class CustomAttention {
  static_assert(std::has_single_bit(unsigned{kBlock}));

 public:
  // Of the description, the shape counts, and cu_seqlens.
  CustomAttention(F functor, const AttentionDesc& d)
      : CustomAttention(std::move(functor), d, nullptr) {
    keep_offsets(d);
    if constexpr (MasksPairs<F>) {
      blocks_ = block_map(d, score_, look);
      score_.blocks = blocks_.data();
    }
  }
  // For a GPU, without the map: the caller gives score().block_count() blocks to make_block_map()
  // (attention_cuda.h), and then here, and tells of the offsets.
  CustomAttention(F functor, const AttentionDesc& d, const cuda::CustomKernels* kernels)
      : functor_(std::move(functor)) {
    score_.functor = &functor_;
    score_.problems = d.cu_seqlens_q ? d.sequences : d.batch;
    score_.heads = d.heads;
    score_.q_len = d.q_len;
    score_.kv_len = d.kv_len;
    score_.of_float = rows_of<float>();
    score_.of_double = rows_of<double>();
    score_.on_cuda = kernels;
    if constexpr (MasksPairs<F>)
      lay_out_blocks(d, kBlock, kHeadsAlike<F>, kBatchesAlike<F>, score_);
  }
  CustomAttention(const CustomAttention&) = delete;
  CustomAttention& operator=(const CustomAttention&) = delete;

  // The map, which outlives this, in memory of a GPU; null where the functor hides nothing.
  void set_map(const BlockSight* blocks, int device) {
    score_.blocks = blocks;
    score_.device = device;
  }

  // The cu_seqlens of the description, if it has any, which are in memory of the CPU.
  void keep_offsets(const AttentionDesc& d) {
    if (!d.cu_seqlens_q) return;
    score_.cu_seqlens_q.assign(d.cu_seqlens_q, d.cu_seqlens_q + d.sequences + 1);
    score_.cu_seqlens_k.assign(d.cu_seqlens_k, d.cu_seqlens_k + d.sequences + 1);
  }

  const CustomScore& score() const { return score_; }
  const F& functor() const { return functor_; }

 private:
  template <class C>
  static CustomRows<C> rows_of() {
    CustomRows<C> rows;
    if constexpr (MasksPairs<F>) rows.hide = hide<C>;
    if constexpr (ChangesScores<F>) rows.change = change<C>;
    return rows;
  }

  template <class C>
  static void hide(const void* functor, AttentionPair at, int count, C* scores) {
    const F& f = *static_cast<const F*>(functor);
    for (int j = 0; j < count; ++j, ++at.key)
      if (!f.visible(at)) scores[j] = -std::numeric_limits<C>::infinity();
  }

  template <class C>
  static void change(const void* functor, AttentionPair at, int count, C* scores, C* slopes) {
    const F& f = *static_cast<const F*>(functor);
    for (int j = 0; j < count; ++j, ++at.key) {
      const C x = scores[j] * std::numbers::ln2_v<C>;
      scores[j] = f.score(x, at) * std::numbers::log2e_v<C>;
      if (slopes) slopes[j] = f.slope(x, at);
    }
  }

  // What is seen of the block that begins at a pair.
  static BlockSight look(const void* functor, const AttentionPair& first) {
    const F& f = *static_cast<const F*>(functor);
    const int64_t queries = std::min<int64_t>(kBlock, first.q_len - first.query);
    const int64_t keys = std::min<int64_t>(kBlock, first.kv_len - first.key);
    int64_t seen = 0;
    AttentionPair at = first;
    for (int64_t i = 0; i < queries; ++i) {
      at.query = first.query + i;
      for (int64_t j = 0; j < keys; ++j) {
        at.key = first.key + j;
        seen += f.visible(at);
      }
    }
    if (seen <= 0) return BlockSight::Empty;
    return seen == queries * keys ? BlockSight::Full : BlockSight::Partial;
  }

  F functor_;
  std::vector<BlockSight> blocks_;
  CustomScore score_;
};

// Whether a functor's GPU kernels are compiled in this translation unit: device_code(OfFunctor<F>)
// says so, of which custom_cuda.cuh declares a better one.
template <class F>
struct OfFunctor {};
struct NoDeviceCode {
  static const cuda::CustomKernels* kernels() { return nullptr; }
};
NoDeviceCode device_code(...);

}  // namespace plinth::kernels::cpu
