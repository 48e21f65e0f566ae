#pragma once

// What the forward kernel for sm_90a is made of: the sizes of its tiles, where they lie in shared
// memory, and which tiles of keys a block works on.

#include "kernels/attention/custom_rule.cuh"
#include "kernels/attention/hopper/pipeline.cuh"
#include "kernels/attention/hopper/shared_dropout.cuh"
#include "kernels/attention/hopper/work.cuh"

namespace plinth::kernels::cuda::attention {

// What a block is made of, by the columns of a head, where scores are scaled products alone
// (`plain`), and where they are more than that, which wants registers of its own. kConsumers
// warpgroups have 64 queries each. The consumers' registers hold the sums (kColumns / 2), a tile's
// scores (kKeys / 2) and its weights (kKeys / 4); shared memory holds their queries and kStages
// tiles each of keys and values.
template <int kColumns, bool plain>
struct ForwardSizes {
  static constexpr int kConsumers = plain && kColumns == 64 ? 3 : 2;
  static constexpr int kKeys = plain ? kColumns == 256 ? 80 : 128 : kColumns == 256 ? 48 : 64;
  static constexpr int kStages = kColumns == 64 ? 4 : 2;
  // Queries are fetched, and results written, under the work on another tile of queries.
  static constexpr int kQueryStages = kColumns == 256 ? 1 : 2;
  static constexpr int kProducerRegisters = kConsumers == 3 ? 32 : 24;
  static constexpr int kConsumerRegisters = kConsumers == 3 ? 160 : 240;
};

template <class T, int kColumns_, bool plain>
struct ForwardTile : ForwardSizes<kColumns_, plain> {
  using Sizes = ForwardSizes<kColumns_, plain>;
  using Sizes::kConsumers, Sizes::kKeys, Sizes::kStages, Sizes::kQueryStages;
  static constexpr int kColumns = kColumns_;
  static constexpr int kThreads = 128 * (kConsumers + 1), kRows = 64 * kConsumers;
  static constexpr Swizzle kSwizzle = kColumns % 64 == 0 ? Swizzle::Bytes128 : Swizzle::Bytes64;
  using Q = Operand<Major::K, kSwizzle, 64>;  // of one warpgroup
  using K = Operand<Major::K, kSwizzle, kKeys>;
  using V = Operand<Major::MN, kSwizzle, kKeys>;
  static constexpr int kBoxColumns = Q::kRowElements;
  using OwnRows = Boxes<64, kBoxColumns, kSwizzle>;  // of queries and results

  static constexpr uint32_t kQBytes = 64 * kColumns * 2, kTileBytes = kKeys * kColumns * 2;
  static constexpr uint32_t kNumbersAt =
      kConsumers * kQueryStages * kQBytes + 2 * kStages * kTileBytes;
  static constexpr uint32_t kTilesAt = kNumbersAt + (kConsumers * kQueryStages * 4 + 15) / 16 * 16;
  static constexpr uint32_t kBarriers =
      kTilesAt + (kConsumers * kQueryStages * sizeof(QueryTile) + 15) / 16 * 16;
  // Queries: a stage for each warpgroup, which it also writes its results to, and with which it
  // gets the tile's number, in the schedule's order, and the tile.
  using Queries = Ring<T, kConsumers * kQueryStages, kQBytes, 0, kBarriers>;
  using Keys = Ring<T, kStages, kTileBytes, Queries::kEnd, Queries::kBarriersEnd>;
  using Values = Ring<T, kStages, kTileBytes, Keys::kEnd, Keys::kBarriersEnd>;
  using Random = SharedDropout<Values::kBarriersEnd>;
  static constexpr uint32_t kSharedBytes = Random::kEnd;

  PLINTH_DEVICE static Shared<int32_t> number(const typename Queries::Place& at) {
    return shared_array<int32_t>(kNumbersAt + static_cast<uint32_t>(at.stage) * 4, 1);
  }
  PLINTH_DEVICE static Shared<int32_t> tile_words(const typename Queries::Place& at) {
    return shared_array<int32_t>(kTilesAt, kConsumers * kQueryStages * kWordsOf<QueryTile>) +
           at.stage * kWordsOf<QueryTile>;
  }
};

// Named barriers; 0 is block_sync()'s.
enum ForwardBarrier : uint32_t { kOneGroup = 1, kConsumersOnly = 4 };

template <class T, class Rule>
struct ForwardArguments {
  AttentionDesc desc;
  Lengths lengths;
  Schedule schedule;
  Rule rule;
  Dropout<float> dropout;
  Global<T> out;
  Global<float> lse;
};

// The next tile of keys, below `tile`, of which the block's queries see something; less than
// tile_begin if there is none. Producer and consumers each ask, and hear the same.
template <class Tile, class T, class Rule>
PLINTH_DEVICE int32_t tile_below(const ForwardArguments<T, Rule>& a, const QueryTile& t,
                                 int32_t tile) {
  --tile;
  if constexpr (Rule::kMasks) {
    const auto empty = [&] {
      const int32_t key = tile * Tile::kKeys;
      return a.rule.map.sight(t.sample, t.head, {t.first, t.first + t.rows},
                              {key, least(key + Tile::kKeys, t.kv_len)}) == BlockSight::Empty;
    };
    while (tile >= t.tile_begin && empty()) --tile;
  }
  return tile;
}

}  // namespace plinth::kernels::cuda::attention
