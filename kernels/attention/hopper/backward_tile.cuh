#pragma once

// What the backward kernels for sm_90a share: the sizes of their tiles, and what they hand to each
// other in the workspace.

#include "kernels/attention/hopper/backward_work.cuh"
#include "kernels/attention/hopper/hopper.h"
#include "kernels/attention/hopper/pipeline.cuh"
#include "kernels/attention/hopper/shared_dropout.cuh"

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
  Global<float>
      dq;  // sums of all tiles of keys but the last, in the order of warpgroups' registers
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

// What a warpgroup is to do with its piece of dq, which goes to a place in shared memory: the warp
// that adds (DqAdder) says so with the place.
enum class DqTask : int32_t {
  Add,       // hand it over as it is, to be added to the others'
  Round,     // it is all there is: round it
  AddRound,  // it is the last: add it to the sum of the others, which lies there, and round that
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
  static constexpr uint32_t kDqTasksAt = kNumbersAt + 16;
  using Work = KeyTile<kKeys, kQueries>;
  static constexpr uint32_t kWorksAt = kDqTasksAt + 16;
  static constexpr uint32_t kBarriers = kWorksAt + (2 * sizeof(Work) + 15) / 16 * 16;
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

  PLINTH_DEVICE static Shared<float> statistics(const typename Queries::Place& at) {
    return shared_array<float>(kStatisticsAt + static_cast<uint32_t>(at.stage) * kStatisticsBytes,
                               2 * kQueries);
  }
  static_assert(kSumStages * sizeof(DqTask) <= 16);
  PLINTH_DEVICE static Shared<DqTask> dq_task(const typename Sums::Place& at) {
    return shared_array<DqTask>(kDqTasksAt, kSumStages) + at.stage;
  }
  // The work whose number has this parity: it stays there until the next but one is taken.
  PLINTH_DEVICE static Shared<int32_t> work_words(uint32_t parity) {
    return shared_array<int32_t>(kWorksAt, 2 * kWordsOf<Work>) +
           static_cast<int32_t>(parity) * kWordsOf<Work>;
  }
  PLINTH_DEVICE static Work work(uint32_t parity) { return load_words<Work>(work_words(parity)); }
  // A piece of dq in its own type, row after row, in a place of Sums.
  PLINTH_DEVICE static Shared<T> dq_tile(const typename Sums::Place& at) {
    return shared_array<T>(Douts::kEnd + static_cast<uint32_t>(at.stage) * kDqBytes, kQueries * 64);
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
  Global<T> dq, dk, dv;
};

}  // namespace plinth::kernels::cuda::attention
