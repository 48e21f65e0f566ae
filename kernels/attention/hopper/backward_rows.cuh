#pragma once

// What stands before the backward kernel: the rows' statistics. It moves memory: two reads of a
// 16-bit row a query.

#include "kernels/attention/hopper/backward_tile.cuh"
#include "kernels/attention/score.cuh"

namespace plinth::kernels::cuda::attention {

inline constexpr int kRowThreads = 256;

// A tile of queries: block (x, y) has tile x of those of the head y before the last. The backward
// kernel begins with the first heads: so it finds in the second cache what was read before it last.
template <int kQueries>
struct RowTile {
  Problem problem;
  int32_t head, index, rows;

  PLINTH_DEVICE RowTile(const AttentionDesc& d, const Lengths& lengths,
                        const BackwardWorkspace& workspace)
      : problem(problem_of(d, lengths, block_index().x, kQueries, false)),
        head(static_cast<int32_t>(d.heads) - 1 - static_cast<int32_t>(block_index().y)),
        index(workspace.index(head, 0, static_cast<int32_t>(block_index().x))) {
    rows = static_cast<int32_t>(attention::greatest(
        int64_t{0}, attention::least(problem.q_len - problem.first, int64_t{kQueries})));
  }
};

// How many tiles of keys tiles of queries meet under a functor's mask (BackwardOrder); null where
// there is none.
struct KeysMet {
  Global<const int32_t> counts{};
  int64_t head_stride = 0;

  template <int kKeys, int kQueries>
  PLINTH_DEVICE bool any(const AttentionDesc& d, const RowTile<kQueries>& t, int32_t tiles) const {
    if (counts) return counts[t.head * head_stride + t.index % tiles] > 0;
    const auto tile = static_cast<int32_t>(t.problem.first / kQueries);
    return KeyTile<kKeys, kQueries>::sees_keys(Sight(d, t.problem), tile);
  }
};

// Writes lse in units of log 2 and delta (attention.h) of each query: kLanes threads have a row. A
// row of the tile that no query has, or which saw no key, gets lse = +inf, so that its weights are
// 0. Clears the counts, and dq where no key is seen.
template <class T, int kColumns>
PLINTH_KERNEL void backward_statistics(const PLINTH_GRID_CONSTANT AttentionDesc d, Lengths lengths,
                                       BackwardWorkspace workspace, KeysMet met,
                                       Global<const T> dout, Global<const T> out,
                                       Global<const float> lse, Global<const float> dlse,
                                       Global<T> dq) {
  constexpr int kQueries = BackwardSizes<kColumns>::kQueries, kLanes = kColumns / 8;
  const RowTile<kQueries> t(d, lengths, workspace);
  constexpr int kMakers = BackwardSizes<kColumns>::kDqMakers;
  if (thread_index() < kMakers)
    workspace.done[t.index * kMakers + static_cast<int32_t>(thread_index())] = 0;
  if (thread_index() == 0 && t.index == 0) workspace.ticket[0] = 0;
  const bool seen =
      t.rows == 0 || met.any<BackwardSizes<kColumns>::kKeys, kQueries>(d, t, workspace.tiles);
  const auto lane = static_cast<int32_t>(thread_index()) % kLanes;
  for (int32_t row = static_cast<int32_t>(thread_index()) / kLanes; row < kQueries;
       row += kRowThreads / kLanes) {
    const int64_t i = t.problem.q_begin + t.problem.first + row;
    const int64_t at_lse = (t.problem.batch * d.heads + t.head) * d.q_len + i;
    float sum = 0, of_weights = std::numeric_limits<float>::infinity();
    if (row < t.rows && lane * 8 < d.head_dim) {
      const auto a =
          load_vector<Vector<T, 8>>(row_of(dout, d.dout, t.problem.batch, t.head, i) + lane * 8);
      const auto b =
          load_vector<Vector<T, 8>>(row_of(out, d.out, t.problem.batch, t.head, i) + lane * 8);
      if (lane == 0) of_weights = lse[at_lse];  // on its way with them
      PLINTH_UNROLL
      for (int e = 0; e < 8; ++e) sum += float(a[e]) * float(b[e]);
      if (!seen)
        store_vector(row_of(dq, d.dq, t.problem.batch, t.head, i) + lane * 8, Vector<T, 8>{});
    }
    PLINTH_UNROLL
    for (uint32_t distance = kLanes / 2; distance > 0; distance /= 2)
      sum += shuffle_xor(sum, distance);
    if (lane != 0) continue;
    if (row < t.rows) {
      of_weights = lse_of_weights(of_weights);
      if (dlse) {
        const float slope = dlse[at_lse];
        sum -= slope;
      }
    }
    const int64_t at = int64_t{t.index} * 2 * kQueries + row;
    workspace.statistics[at] = of_weights;
    workspace.statistics[at + kQueries] = sum;
  }
}

}  // namespace plinth::kernels::cuda::attention
