#pragma once

// What the backward kernels for sm_90a share: the sizes of their tiles, and what they hand to each
// other in the workspace.

#include "kernels/attention/hopper/hopper.h"
#include "kernels/attention/hopper/pipeline.cuh"
#include "kernels/attention/hopper/shared_dropout.cuh"
#include "kernels/attention/hopper/work.cuh"

namespace plinth::kernels::cuda::attention {

// A block has kKeys keys, and works through the tiles of kQueries queries that see them. Each of
// two consumer warpgroups has half of the keys; of more than 128 columns (kWide) both have all
// keys, and one gradient each, which fills as many registers.
//
// dq of a tile of queries is made in pieces: of 64 columns by one warpgroup, by turns, so that each
// operand is read once and the other one goes on; of more by both, half of the columns each, which
// kDqParts pieces hold.
template <int kColumns>
struct BackwardSizes {
  static constexpr bool kWide = kColumns > 128;
  static constexpr int kConsumers = 2, kKeys = kWide ? 64 : 64 * kConsumers;
  static constexpr int kQueries = 64;
  static constexpr bool kDqByTurns = kColumns <= 64;
  static constexpr int kDqMakers = kDqByTurns ? 1 : 2, kDqParts = kWide ? 2 : 1;
  static constexpr int kDqPieces = kDqMakers * kDqParts, kDqColumns = kColumns / kDqPieces;
  static constexpr uint32_t kDqBytes = kQueries * kDqColumns * 4;  // of a piece
  // Tiles of queries, of dout, and of slopes.
  static constexpr int kQueryStages = kWide ? 2 : 3, kDoutStages = kWide ? 1 : 2;
  static constexpr int kSlopeStages = kWide ? 1 : 2;
  // Of pieces of dq; each has a warp that adds what lies there.
  static constexpr int kSumStages = kWide ? 2 : 3;
  static_assert(kDqParts == 1 || kSumStages == kDqMakers);
};

// The workspace, by tiles of queries: those of all problems of a head, then the next head's.
struct BackwardWorkspace {
  Global<float> statistics;  // of each tile kQueries lse in units of log 2, then kQueries deltas
  Global<float> dq;          // sums, in the order in which warpgroups hold them
  Global<int32_t> done;    // key tiles that have been added to what each maker has of a tile of dq
  Global<int32_t> ticket;  // the next piece of work that no block has taken
  int32_t tiles;           // of one head

  static constexpr size_t kAlignment = 256;

  static size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
  static int64_t tiles_of_head(const AttentionDesc& d, int64_t queries) {
    return tiles_of(d, d.q_len, queries);
  }

  // The number of a problem's tile `tile`.
  PLINTH_DEVICE int32_t index(int32_t head, int32_t first_tile, int32_t tile) const {
    return head * tiles + first_tile + tile;
  }
};

// The number, among a head's, of a problem's first tile of queries (problem.cuh counts them).
template <int kQueries>
PLINTH_DEVICE int32_t first_query_tile(const AttentionDesc& d, const Lengths& lengths,
                                       int32_t batch, int32_t sample, int32_t q_begin) {
  if (lengths.cu_seqlens_q) return q_begin / kQueries + sample;
  return batch * static_cast<int32_t>((d.q_len + kQueries - 1) / kQueries);
}

template <class T, int kColumns>
struct BackwardWorkspaceSizes {
  size_t statistics, dq, done;

  explicit BackwardWorkspaceSizes(const AttentionDesc& d) {
    using Sizes = BackwardSizes<kColumns>;
    const auto tiles =
        static_cast<size_t>(d.heads * BackwardWorkspace::tiles_of_head(d, Sizes::kQueries));
    statistics = BackwardWorkspace::aligned(tiles * 2 * Sizes::kQueries * sizeof(float));
    dq = BackwardWorkspace::aligned(tiles * Sizes::kDqPieces * Sizes::kDqBytes);
    done = BackwardWorkspace::aligned((tiles * Sizes::kDqMakers + 1) * sizeof(int32_t));
  }
  size_t total() const { return statistics + dq + done; }
  BackwardWorkspace at(const AttentionDesc& d, void* workspace) const {
    using Sizes = BackwardSizes<kColumns>;
    auto* const bytes = static_cast<std::byte*>(workspace);
    const int64_t tiles = BackwardWorkspace::tiles_of_head(d, Sizes::kQueries);
    auto* const done_flags = reinterpret_cast<int32_t*>(bytes + statistics + dq);
    return {reinterpret_cast<float*>(bytes), reinterpret_cast<float*>(bytes + statistics),
            done_flags, done_flags + d.heads * tiles * Sizes::kDqMakers,
            static_cast<int32_t>(tiles)};
  }
};

// Which piece of a problem's work comes when, and which of its tiles of queries first. dq of a tile
// of queries is added tile of keys after tile of keys, so that a block may wait for others' turns,
// and time goes by. It does not where each block comes to a tile just after the one whose turn is
// before:
//
//   Descending  the last tile of keys first, each from its first tile of queries on. Below a
//               diagonal that is where it sees its first query: of blocks that begin at once, that
//               of tile j reaches a tile of queries one tile of keys later than that of j + 1,
//               whose turn is before. The longest pieces of work come last.
//   Ascending   the first tile of keys first, each from its last tile of queries back. Below a
//               diagonal blocks that have ended a Descending head's pieces, the shortest of which
//               is over first, begin one tile of keys apart. So each comes to a tile of queries
//               just after the one before it, and all end together: a short piece is followed by a
//               long one (KeySchedule).
//   Shifted     where all queries see all keys: the block of tile j begins at that share of the
//               queries, and goes around. A block may then wait for any other of its head, so that
//               they must all run at once: no problem is Shifted that has more tiles of keys than
//               the GPU has multiprocessors, and work is dealt beforehand. The first piece of work
//               that is not done is then at hand, with all others of its problem and head.
//
// A problem's order sets the bits of its gradients. So it goes by the problem alone and its head,
// and not by what the batch holds besides.
enum class KeyOrder : uint8_t { Descending, Ascending, Shifted };

// The order of all work, by numbers that blocks take one after another. Where problems are
// Descending and Ascending by turns of heads (`together` > 0), work goes by sections: first the
// pieces of so many Descending problems, the shortest of each, then the next longer; then as many
// Ascending ones, the longest first. A section's Descending pieces are at most as many as there are
// blocks, which begin them at once. Else it goes by heads, and from each one's last tile on.
struct KeySchedule {
  int32_t tiles = 0;          // of keys: of one head, all problems
  int32_t count = 0;          // of all heads
  int32_t heads = 1;          // of keys
  int32_t problems = 1;       // of a head, of tiles / problems each, where heads take turns
  int32_t together = 0;       // Descending problems of a section; 0: all problems are
  int32_t shifted_limit = 0;  // tiles of keys that a Shifted problem may have; 0: none is Shifted

  PLINTH_DEVICE KeyOrder order(int32_t head, int32_t key_tiles) const {
    if (shifted_limit > 0 && key_tiles <= shifted_limit) return KeyOrder::Shifted;
    return together > 0 && head % 2 == 1 ? KeyOrder::Ascending : KeyOrder::Descending;
  }
  struct Place {
    int32_t tile, head;  // the tile's number among a head's
  };
  PLINTH_DEVICE Place place(int32_t number) const {
    // A last head that has no partner is Descending.
    if (together == 0 || number >= heads / 2 * 2 * tiles)
      return {tiles - 1 - number % tiles, number / tiles};
    const int32_t tiles_each = tiles / problems;
    const int32_t first = number / (2 * together * tiles_each) * together;
    const int32_t width = least(together, heads / 2 * problems - first);
    int32_t within = number - 2 * first * tiles_each;
    const bool ascending = within >= width * tiles_each;
    if (ascending) within -= width * tiles_each;
    const int32_t pair = first + within % width;
    const int32_t tile = ascending ? within / width : tiles_each - 1 - within / width;
    return {pair % problems * tiles_each + tile, pair / problems * 2 + (ascending ? 1 : 0)};
  }
};

// Turns of the tiles of keys of one problem, of which there are `keys`, at tiles of queries, of
// which there are `queries`, all of which see all keys.
struct ShiftedTurns {
  int32_t keys, queries;

  // Where tile of keys j begins.
  PLINTH_DEVICE int32_t start(int32_t j) const {
    const int32_t tile = (j * queries + keys - 1) / keys;
    return tile < queries ? tile : 0;
  }
  // How many come to a tile of queries before tile of keys j does.
  PLINTH_DEVICE int32_t rank(int32_t query_tile, int32_t j) const {
    const int32_t first = query_tile * keys / queries;
    return j <= first ? first - j : first - j + keys;
  }
};

// A tile of keys of one key/value head, and the tiles of queries that see them.
template <int kKeys, int kQueries>
struct KeyTile {
  int32_t batch, sample;     // as in Problem
  int32_t q_begin, k_begin;  // first rows of the problem
  int32_t q_len, kv_len;
  Sight sight;
  int32_t kv_head;
  int32_t first, rows;     // keys; none where the block has nothing to do
  int32_t tile, tile_end;  // of queries
  KeyOrder order;          // the problem's
  int32_t start;           // the tile to begin with
  int32_t first_tile;      // the number of the problem's tile 0

  PLINTH_DEVICE KeyTile(const AttentionDesc& d, const Lengths& lengths, const KeySchedule& schedule,
                        int32_t number)
      : KeyTile(d, lengths, schedule, schedule.place(number)) {}

  PLINTH_DEVICE Problem problem() const {
    return {batch, sample, q_begin, k_begin, q_len, kv_len, sight.visible, first};
  }
  // The tile after `query_tile`, around all of them.
  PLINTH_DEVICE int32_t after(int32_t query_tile) const {
    if (order == KeyOrder::Ascending) return (query_tile == tile ? tile_end : query_tile) - 1;
    return query_tile + 1 == tile_end ? tile : query_tile + 1;
  }
  // How many tiles of keys come before this one among those that a tile of queries sees.
  PLINTH_DEVICE int32_t rank(int32_t query_tile) const {
    if (order == KeyOrder::Shifted) return turns().rank(query_tile, first / kKeys);
    if (order == KeyOrder::Ascending)
      return first / kKeys - sight.begin(query_tile * kQueries) / kKeys;
    return last_key_tile(sight, query_tile) - first / kKeys;
  }
  // The last tile of keys that a tile of queries, which sees keys, meets.
  PLINTH_DEVICE static int32_t last_key_tile(const Sight& sight, int32_t query_tile) {
    return (sight.end((query_tile + 1) * kQueries - 1) - 1) / kKeys;
  }

 private:
  PLINTH_DEVICE int32_t key_tiles() const { return (sight.visible + kKeys - 1) / kKeys; }
  PLINTH_DEVICE ShiftedTurns turns() const { return {key_tiles(), tile_end}; }

  PLINTH_DEVICE KeyTile(const AttentionDesc& d, const Lengths& lengths, const KeySchedule& schedule,
                        const KeySchedule::Place& place)
      : KeyTile(d, lengths, schedule, problem_of(d, lengths, place.tile, kKeys, true), place.head) {
  }
  PLINTH_DEVICE KeyTile(const AttentionDesc& d, const Lengths& lengths, const KeySchedule& schedule,
                        const Problem& p, int32_t head)
      : batch(static_cast<int32_t>(p.batch)),
        sample(static_cast<int32_t>(p.sample)),
        q_begin(static_cast<int32_t>(p.q_begin)),
        k_begin(static_cast<int32_t>(p.k_begin)),
        q_len(static_cast<int32_t>(p.q_len)),
        kv_len(static_cast<int32_t>(p.kv_len)),
        sight(d, p),
        kv_head(head),
        first(static_cast<int32_t>(attention::least(p.first, int64_t{kFar}))) {
    rows = greatest(0, least(kv_len - first, kKeys));
    const int32_t last = least(first + kKeys, sight.visible);
    tile = sight.first_query(first) / kQueries;
    tile_end = first < last
                   ? (greatest(0, least(q_len, sight.last_query(last))) + kQueries - 1) / kQueries
                   : tile;
    tile_end = greatest(tile, tile_end);
    order = schedule.order(head, key_tiles());
    start = order == KeyOrder::Ascending ? tile_end - 1 : tile;
    if (order == KeyOrder::Shifted && tile_end > 0) start = turns().start(first / kKeys);
    first_tile = first_query_tile<kQueries>(d, lengths, batch, sample, q_begin);
  }
};

template <class T, int kColumns_>
struct BackwardTile : BackwardSizes<kColumns_> {
  using Sizes = BackwardSizes<kColumns_>;
  using Sizes::kConsumers, Sizes::kKeys, Sizes::kQueries, Sizes::kWide;
  using Sizes::kDqBytes;
  using Sizes::kQueryStages, Sizes::kDoutStages, Sizes::kSlopeStages, Sizes::kSumStages;
  static constexpr int kColumns = kColumns_;
  static constexpr int kThreads = 128 * (kConsumers + 1);
  static constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;  // of a thread
  static constexpr Swizzle kSwizzle = Swizzle::Bytes128;
  static constexpr int kBoxColumns = 64;
  using KeyRows = Operand<Major::K, kSwizzle, kKeys>;      // rows of k or v, by their columns
  using KeyColumns = Operand<Major::MN, kSwizzle, kKeys>;  // the same by their rows
  using QueryRows = Operand<Major::K, kSwizzle, kQueries>;
  using QueryColumns = Operand<Major::MN, kSwizzle, kQueries>;
  using Slopes = Operand<Major::MN, kSwizzle, kKeys>;  // [keys, queries]
  using OfKeys = Boxes<kKeys, kBoxColumns, kSwizzle>;  // keys, values and slopes

  static constexpr uint32_t kKeyBytes = kKeys * kColumns * 2, kQueryBytes = kQueries * kColumns * 2;
  static constexpr uint32_t kSlopeBytes = kKeys * kQueries * 2;
  static constexpr uint32_t kStatisticsBytes = 2 * kQueries * 4;
  static constexpr uint32_t kWeightBytes = kWide ? kKeys * kQueries * 4 : 0;
  // Tiles from the start; then those of slopes, and of weights that one consumer sends the other;
  // then statistics, and numbers of work.
  static constexpr uint32_t kSlopesAt =
      2 * kKeyBytes + (kQueryStages + kDoutStages) * kQueryBytes + kSumStages * kDqBytes;
  static constexpr uint32_t kWeightsAt = kSlopesAt + kSlopeStages * kSlopeBytes;
  static constexpr uint32_t kStatisticsAt = kWeightsAt + kWeightBytes;
  static constexpr uint32_t kNumbersAt = kStatisticsAt + kQueryStages * kStatisticsBytes;
  static constexpr uint32_t kBarriers = kNumbersAt + 16;
  using Keys = Ring<T, 1, kKeyBytes, 0, kBarriers>;
  using Values = Ring<T, 1, kKeyBytes, Keys::kEnd, Keys::kBarriersEnd>;
  using Queries = Ring<T, kQueryStages, kQueryBytes, Values::kEnd, Values::kBarriersEnd>;
  using Douts = Ring<T, kDoutStages, kQueryBytes, Queries::kEnd, Queries::kBarriersEnd>;
  using Sums = Ring<float, kSumStages, kDqBytes, Douts::kEnd, Douts::kBarriersEnd>;
  using Numbers = Ring<int32_t, 1, 16, kNumbersAt, Sums::kBarriersEnd>;
  static_assert(Sums::kEnd == kSlopesAt);
  static constexpr uint32_t kGradientsGone = Numbers::kBarriersEnd;  // a barrier
  using Random = SharedDropout<kGradientsGone + 16>;
  static constexpr uint32_t kSharedBytes = Random::kEnd;
  using Work = KeyTile<kKeys, kQueries>;

  PLINTH_DEVICE static Shared<float> statistics(const typename Queries::Place& at) {
    return shared_array<float>(kStatisticsAt + static_cast<uint32_t>(at.stage) * kStatisticsBytes,
                               2 * kQueries);
  }
  // Gradients of keys and values leave through the places of queries and of dout, which are fetched
  // again when they are gone: so the next keys and values are fetched meanwhile.
  PLINTH_DEVICE static Shared<T> dk_tile() { return shared_array<T>(Values::kEnd, kKeyBytes / 2); }
  PLINTH_DEVICE static Shared<T> dv_tile() { return shared_array<T>(Queries::kEnd, kKeyBytes / 2); }
  static_assert(kQueryStages * kQueryBytes >= kKeyBytes && kDoutStages * kQueryBytes >= kKeyBytes);
  PLINTH_DEVICE static Shared<Mbarrier> gradients_gone() {
    return shared_array<Mbarrier>(kGradientsGone, 1);
  }
};

// Whether consumers let the next piece of work be taken at the last tile of queries of this one, if
// it has any, or after they have freed its keys.
template <class Tile, class Rule>
inline constexpr bool kTakesWorkEarly = Rule::kScaleOnly && !Tile::kWide;

// Named barriers; 0 is block_sync()'s.
enum BackwardBarrier : uint32_t {
  kBothConsumers = 1,
  kOneConsumer = 2,  // and 3
  kWeightsSent = 4,
  kSlopesMade = 5,  // and 6
};

template <class T, class Rule>
struct BackwardArguments {
  AttentionDesc desc;
  Lengths lengths;
  Rule rule;
  Dropout<float> dropout;
  BackwardWorkspace workspace;
  KeySchedule schedule;
  int32_t group;  // heads of queries that share keys
  Global<T> dk, dv;
};

}  // namespace plinth::kernels::cuda::attention
