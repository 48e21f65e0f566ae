#pragma once

// How a warpgroup of the forward kernel for sm_90a ends a tile of queries: sums become results, in
// the place of the queries, from where TMA writes them.

#include "kernels/attention/hopper/forward_tile.cuh"
#include "kernels/attention/hopper/softmax.cuh"

namespace plinth::kernels::cuda::attention {

template <class Tile, class T, class Rule>
struct ForwardResults {
  using Queries = typename Tile::Queries;
  using Sums = Registers<float, Tile::kColumns / 2>;

  const ForwardArguments<T, Rule>& a;
  const int32_t group;
  typename Queries::Place q;
  int32_t writing = -1;  // the stage of queries from where TMA is writing results; -1: none

  PLINTH_DEVICE ForwardResults(const ForwardArguments<T, Rule>& arguments, int32_t number)
      : a(arguments), group(number) {
    q.stage = group;
  }

  PLINTH_DEVICE void sync_own() const { named_sync(kOneGroup + static_cast<uint32_t>(group), 128); }

  // The factor that brings scores to units of log 2.
  PLINTH_DEVICE float factor() const {
    if constexpr (!Rule::kScaleOnly) return 1;
    return static_cast<float>(a.desc.scale * std::numbers::log2e);
  }

  // Scales the sums (which are unset where the queries see no key), writes lse, and the results to
  // global memory by way of the queries' place.
  PLINTH_DEVICE void finish(const TensorMap& out_map, const QueryTile& t, Sums& sums,
                            OnlineSoftmax& softmax) {
    const int32_t first = 64 * group, rows = least(t.rows - first, 64);
    PLINTH_UNROLL
    for (int h = 0; h < 2; ++h) {
      float lse, sink = kNever;
      if (a.rule.has_sinks()) sink = a.rule.sink(t.head);
      const float scale = softmax.finish(h, factor(), sink, lse);
      PLINTH_UNROLL
      for (int i = 2 * h; i < Tile::kColumns / 2; i += 4) {
        PLINTH_UNROLL
        for (int e = 0; e < 2; ++e) sums[i + e] = scale == 0 ? 0.0f : sums[i + e] * scale;
      }
      if (lane_index() % 4 == 0 && own_row(h) < rows) {
        const int64_t row = t.q_begin + t.first + first + own_row(h);
        a.lse[(t.batch * a.desc.heads + t.head) * a.desc.q_len + row] = lse;
      }
    }
    stage(sums);
    write_rows(out_map, t, first, rows);
  }

  // Rounded, to shared memory, as TMA reads them.
  PLINTH_DEVICE void stage(Sums& sums) const {
    PLINTH_UNROLL
    for (int step = 0; step < Tile::kColumns / 16; ++step) {
      Registers<uint32_t, 4> pairs;
      sums_to_fragment<T>(sums, step, pairs);
      Tile::OwnRows::store(Queries::tile(q), 0, step, pairs);
    }
  }

  // The tile by TMA, where no row beyond it is another sequence's; else `rows` rows one by one.
  PLINTH_DEVICE void write_rows(const TensorMap& out_map, const QueryTile& t, int32_t first,
                                int32_t rows) {
    fence_async_shared();
    sync_own();
    const Shared<T> from = Queries::tile(q);
    const int32_t row = t.q_begin + t.first + first;
    const bool leader = thread_index() % 128 == 0;
    if (rows == 64 || !a.lengths.cu_seqlens_q) {
      if (leader) {
        PLINTH_UNROLL
        for (int column = 0; column < Tile::kColumns; column += Tile::kBoxColumns)
          tma_store(out_map, {column, row, t.head, t.batch}, from + column * 64);
        bulk_commit();
      }
    } else {
      copy_rows<typename Tile::OwnRows>(from, 0, rows, static_cast<int32_t>(a.desc.head_dim / 8),
                                        row_of(a.out, a.desc.out, t.batch, t.head, row),
                                        a.desc.out.seq);
      sync_own();
    }
    writing = q.stage;
  }
  // Frees the place of the results before when they have left shared memory: with two stages, under
  // the next tile's first product.
  PLINTH_DEVICE void free_written() {
    if (writing >= 0 && thread_index() % 128 == 0) {
      bulk_wait_read<0>();
      mbarrier_arrive(Queries::empty({writing, 0}));
    }
    writing = -1;
  }
};

}  // namespace plinth::kernels::cuda::attention
