#pragma once

// What stands before and after the backward kernel: the rows' statistics, and dq in its own type.
// Both move memory: two reads of 16-bit rows, one of float32 and one write of a 16-bit row a query.

#include "kernels/attention/hopper/backward_tile.cuh"
#include "kernels/attention/score.cuh"

namespace plinth::kernels::cuda::attention {

inline constexpr int kRowThreads = 256;

// A tile of queries: block (x, y) has tile x of those of the head y before the last. The backward
// kernel begins with the first heads and ends with the last ones: so it finds in the second cache
// what was read before it last, and leaves there what is read after it first.
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

// Writes lse in units of log 2 and delta (attention.h) of each query: kLanes threads have a row. A
// row of the tile that no query has, or which saw no key, gets lse = +inf, so that its weights are
// 0. Clears the counts.
template <class T, int kColumns>
PLINTH_KERNEL void backward_statistics(const PLINTH_GRID_CONSTANT AttentionDesc d, Lengths lengths,
                                       BackwardWorkspace workspace, Global<const T> dout,
                                       Global<const T> out, Global<const float> lse,
                                       Global<const float> dlse) {
  constexpr int kQueries = BackwardSizes<kColumns>::kQueries, kLanes = kColumns / 8;
  const RowTile<kQueries> t(d, lengths, workspace);
  constexpr int kMakers = BackwardSizes<kColumns>::kDqMakers;
  if (thread_index() < kMakers)
    workspace.done[t.index * kMakers + static_cast<int32_t>(thread_index())] = 0;
  if (thread_index() == 0 && t.index == 0) workspace.ticket[0] = 0;
  const auto lane = static_cast<int32_t>(thread_index()) % kLanes;
  for (int32_t row = static_cast<int32_t>(thread_index()) / kLanes; row < kQueries;
       row += kRowThreads / kLanes) {
    const int64_t i = t.problem.q_begin + t.problem.first + row;
    float sum = 0;
    if (row < t.rows && lane * 8 < d.head_dim) {
      const auto a =
          load_vector<Vector<T, 8>>(row_of(dout, d.dout, t.problem.batch, t.head, i) + lane * 8);
      const auto b =
          load_vector<Vector<T, 8>>(row_of(out, d.out, t.problem.batch, t.head, i) + lane * 8);
      PLINTH_UNROLL
      for (int e = 0; e < 8; ++e) sum += float(a[e]) * float(b[e]);
    }
    PLINTH_UNROLL
    for (uint32_t distance = kLanes / 2; distance > 0; distance /= 2)
      sum += shuffle_xor(sum, distance);
    if (lane != 0) continue;
    float of_weights = std::numeric_limits<float>::infinity();
    if (row < t.rows) {
      const int64_t at = (t.problem.batch * d.heads + t.head) * d.q_len + i;
      const float value = lse[at];
      of_weights = lse_of_weights(value);
      if (dlse) {
        const float slope = dlse[at];
        sum -= slope;
      }
    }
    const int64_t at = int64_t{t.index} * 2 * kQueries + row;
    workspace.statistics[at] = of_weights;
    workspace.statistics[at + kQueries] = sum;
  }
}

// dq = scale times its sums, or 0 where no key was seen. A thread has 8 columns of a row: those of
// four threads of the warpgroup that summed them (backward.cuh).
template <class T, int kColumns>
PLINTH_KERNEL void backward_dq(const PLINTH_GRID_CONSTANT AttentionDesc d, Lengths lengths,
                               BackwardWorkspace workspace, Global<T> dq) {
  using Sizes = BackwardSizes<kColumns>;
  constexpr int kQueries = Sizes::kQueries, kUnits = kColumns / 8;
  const RowTile<kQueries> t(d, lengths, workspace);
  const auto first = static_cast<int32_t>(t.problem.first);
  const int32_t done = workspace.done[t.index * Sizes::kDqMakers];
  const bool seen = done > 0;
  const auto scale = static_cast<float>(d.scale);
  for (auto i = static_cast<int32_t>(thread_index()); i < t.rows * kUnits; i += kRowThreads) {
    const int32_t row = i / kUnits, column = i % kUnits * 8;
    if (column >= d.head_dim) continue;
    const int32_t part = column / Sizes::kDqColumns, thread = row / 16 * 32 + row % 8 * 4;
    const int64_t from = (int64_t{t.index} * Sizes::kDqPieces + part) * (Sizes::kDqBytes / 4) +
                         column % Sizes::kDqColumns / 8 * 512 + thread * 4 + row % 16 / 8 * 2;
    Vector<T, 8> result;
    PLINTH_UNROLL
    for (int e = 0; e < 4; ++e) {
      Vector<float, 2> pair{};
      if (seen) pair = load_vector<Vector<float, 2>>(workspace.dq + (from + e * 4));
      result[2 * e] = T(pair[0] * scale);
      result[2 * e + 1] = T(pair[1] * scale);
    }
    store_vector(
        row_of(dq, d.dq, t.problem.batch, t.head, t.problem.q_begin + first + row) + column,
        result);
  }
}

}  // namespace plinth::kernels::cuda::attention
