#pragma once

// The warps of the backward kernel's first warpgroup: one takes work and fetches, one adds to dq.

#include "kernels/attention/hopper/backward_order.cuh"

namespace plinth::kernels::cuda::attention {

// Takes work and fetches what it needs.
template <class Tile, class T, class Rule>
PLINTH_DEVICE void fetch_backward(const TensorMap& q_map, const TensorMap& k_map,
                                  const TensorMap& v_map, const TensorMap& dout_map,
                                  const BackwardArguments<T, Rule>& a) {
  using Keys = typename Tile::Keys;
  using Values = typename Tile::Values;
  using Queries = typename Tile::Queries;
  using Douts = typename Tile::Douts;
  using Numbers = typename Tile::Numbers;
  typename Keys::Place k;  // and of values, which are freed with keys
  typename Queries::Place q;
  typename Douts::Place o;
  typename Numbers::Place n;
  const auto group = static_cast<int32_t>(a.desc.heads / a.desc.kv_heads);
  for (;;) {
    const int32_t number = atomic_add(a.workspace.ticket, 1);
    const typename Tile::Work t(a.desc, a.lengths, a.tiles, least(number, a.count - 1));
    if (number < a.count && t.rows == 0) continue;
    // Consumers have read the number before, since they have finished the work before that.
    mbarrier_wait(Numbers::empty(n), n.parity ^ 1);
    Numbers::tile(n)[0] = number;
    mbarrier_arrive(Numbers::full(n));
    n.advance();
    if (number >= a.count) return;
    load_rows<Tile::kKeys, Tile::kColumns, Tile::kBoxColumns>(
        Keys::start(k), k_map, t.k_begin + t.first, t.kv_head, t.batch, Keys::full(k));
    load_rows<Tile::kKeys, Tile::kColumns, Tile::kBoxColumns>(
        Values::start_free(k), v_map, t.k_begin + t.first, t.kv_head, t.batch, Values::full(k));
    k.advance();
    for (int32_t head = t.kv_head * group; head < (t.kv_head + 1) * group; ++head) {
      for (int32_t tile = t.tile; tile < t.tile_end; ++tile) {
        if (turn_of<Tile>(a, t, head, tile).empty) continue;
        const int32_t row = t.q_begin + tile * Tile::kQueries;
        load_rows<Tile::kQueries, Tile::kColumns, Tile::kBoxColumns>(
            Queries::start(q, Tile::kQueryBytes + Tile::kStatisticsBytes), q_map, row, head,
            t.batch, Queries::full(q));
        const int64_t statistics =
            int64_t{a.workspace.index(head, t.first_tile, tile)} * 2 * Tile::kQueries;
        bulk_load(Tile::statistics(q), Global<const float>(a.workspace.statistics + statistics),
                  Tile::kStatisticsBytes, Queries::full(q));
        // Of as many stages it is freed before queries.
        load_rows<Tile::kQueries, Tile::kColumns, Tile::kBoxColumns>(
            Tile::kDoutStages == Tile::kStages ? Douts::start_free(o) : Douts::start(o), dout_map,
            row, head, t.batch, Douts::full(o));
        q.advance();
        o.advance();
      }
    }
  }
}

// Adds what the consumers made to dq, in the order of the tiles of keys.
template <class Tile, class T, class Rule>
PLINTH_DEVICE void add_dq(const BackwardArguments<T, Rule>& a) {
  using Sums = typename Tile::Sums;
  using Numbers = typename Tile::Numbers;
  typename Sums::Place sums;
  typename Numbers::Place n;
  const auto group = static_cast<int32_t>(a.desc.heads / a.desc.kv_heads);
  for (;;) {
    Numbers::wait(n);
    const int32_t number = Numbers::tile(n)[0];
    mbarrier_arrive(Numbers::empty(n));
    n.advance();
    if (number >= a.count) return;
    const typename Tile::Work t(a.desc, a.lengths, a.tiles, number);
    for (int32_t head = t.kv_head * group; head < (t.kv_head + 1) * group; ++head) {
      for (int32_t tile = t.tile; tile < t.tile_end; ++tile) {
        const TileTurn turn = turn_of<Tile>(a, t, head, tile);
        if (turn.empty) continue;
        const int32_t index = a.workspace.index(head, t.first_tile, tile), rank = turn.rank;
        while (load_acquire(a.workspace.done + index) < rank) {
        }
        for (int i = 0; i < Tile::kConsumers * Tile::kDqParts; ++i) {
          const int half = i % Tile::kConsumers, part = i / Tile::kConsumers;
          Sums::wait(sums);
          const Global<float> to =
              a.workspace.dq +
              ((int64_t{index} * Tile::kConsumers + half) * Tile::kDqParts + part) *
                  (Tile::kDqBytes / 4);
          if (rank == 0) {
            bulk_store(to, Sums::tile(sums), Tile::kDqBytes);
          } else {
            bulk_add(to, Sums::tile(sums), Tile::kDqBytes);
          }
          bulk_commit();
          bulk_wait_read<0>();
          mbarrier_arrive(Sums::empty(sums));
          sums.advance();
        }
        bulk_wait<0>();
        fence_async_all();
        store_release(a.workspace.done + index, rank + 1);
      }
    }
  }
}

}  // namespace plinth::kernels::cuda::attention
