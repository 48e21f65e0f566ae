#pragma once

// The warps of the backward kernel's first warpgroup: one takes work and fetches, the others add to
// dq.

#include "kernels/attention/hopper/backward_order.cuh"

namespace plinth::kernels::cuda::attention {

// The number of a block's next piece of work, taken once consumers free that of the last one,
// `before` (-1: none), at its end. Earlier it would be kept from a block that is free, and, below a
// diagonal, keep others from their turns.
template <class Tile, class T, class Rule>
PLINTH_DEVICE int32_t take_number(const BackwardArguments<T, Rule>& a,
                                  const typename Tile::Numbers::Place& place, int32_t before) {
  Tile::Numbers::wait_free(place);
  if (a.schedule.shifted_limit == 0) return atomic_add(a.workspace.ticket, 1);
  return static_cast<int32_t>(before < 0 ? block_index().x : before + grid_blocks().x);
}

// Takes work, tells the other warps, and fetches what it needs.
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
  for (int32_t number = -1;; n.advance()) {
    number = take_number<Tile>(a, n, number);
    Numbers::tile(n)[0] = number;
    if (number >= a.schedule.count) break;
    const typename Tile::Work t(a.desc, a.lengths, a.schedule, number);
    store_words(Tile::work_words(n.parity), t);
    mbarrier_arrive(Numbers::full(n));
    if constexpr (kTakesWorkEarly<Tile, Rule>) Keys::wait_free(k);
    load_rows<Tile::kKeys, Tile::kColumns, Tile::kBoxColumns>(
        Keys::start_free(k), k_map, t.k_begin + t.first, t.kv_head, t.batch, Keys::full(k));
    load_rows<Tile::kKeys, Tile::kColumns, Tile::kBoxColumns>(
        Values::start_free(k), v_map, t.k_begin + t.first, t.kv_head, t.batch, Values::full(k));
    const uint32_t last = k.parity ^ 1;
    k.advance();
    bool begun = false;
    each_turn<Tile>(
        a, [&] { return t; },
        [&](int32_t head, int32_t tile, const TileTurn&) {
          // The last piece's gradients leave through the places of queries and dout. Where a piece
          // has no tile, nobody waits: consumers may end it, and another phase, before such a wait
          // is over.
          if (!begun) mbarrier_wait(Tile::gradients_gone(), last);
          begun = true;
          const int32_t row = t.q_begin + tile * Tile::kQueries;
          load_rows<Tile::kQueries, Tile::kColumns, Tile::kBoxColumns>(
              Queries::start(q, Tile::kQueryBytes + Tile::kStatisticsBytes), q_map, row, head,
              t.batch, Queries::full(q));
          const int64_t statistics =
              int64_t{a.workspace.index(head, t.first_tile, tile)} * 2 * Tile::kQueries;
          bulk_load(Tile::statistics(q), Global<const float>(a.workspace.statistics + statistics),
                    Tile::kStatisticsBytes, Queries::full(q));
          load_rows<Tile::kQueries, Tile::kColumns, Tile::kBoxColumns>(
              Douts::start(o), dout_map, row, head, t.batch, Douts::full(o));
          q.advance();
          o.advance();
        });
  }
  mbarrier_arrive(Numbers::full(n));
}

// Adds to dq, in the order of the tiles of keys, what comes to one place of the ring of its pieces,
// and writes what has become of the last. Each place has a warp of its own: to see that it is a
// piece's turn, to add it, to wait for that and to tell others are trips to the second cache one
// after another, in all longer than the time of a tile of queries.
//
// A tile's last piece finds the sum of the others in its place, which is fetched under the work on
// earlier tiles.
template <class Tile, class T, class Rule>
struct DqAdder {
  using Sums = typename Tile::Sums;
  using Numbers = typename Tile::Numbers;
  using Work = typename Tile::Work;
  const BackwardArguments<T, Rule>& a;
  const TensorMap& dq_map;
  typename Sums::Place place;
  typename Numbers::Place n = {};

  PLINTH_DEVICE Global<int32_t> done(int32_t index, int32_t maker) const {
    return a.workspace.done + (index * Tile::kDqMakers + maker);
  }
  // What others have added, by bulk copies, is complete when they tell of it; the fence is for the
  // bulk copies that follow here.
  PLINTH_DEVICE void wait_for_turn(int32_t index, int32_t maker, int32_t rank) const {
    if (rank == 0) return;
    while (load_acquire(done(index, maker)) < rank) {
    }
    fence_async_all();
  }
  PLINTH_DEVICE Global<float> sums(int32_t index, int32_t maker) const {
    return a.workspace.dq +
           (int64_t{index} * Tile::kDqPieces + maker * Tile::kDqParts) * (Tile::kDqBytes / 4);
  }
  // What was begun has left shared memory.
  PLINTH_ONE_COPY PLINTH_DEVICE void end_piece() {
    bulk_commit();
    bulk_wait_read<0>();
    place.parity ^= 1;
  }

  // The place is free, or will be when `bytes` have come to it.
  PLINTH_DEVICE void offer(DqTask task, uint32_t bytes = 0) const {
    Tile::dq_task(place)[0] = task;
    if (bytes == 0) {
      mbarrier_arrive(Sums::empty(place));
    } else {
      mbarrier_arrive_expect(Sums::empty(place), bytes);
    }
  }

  // What a maker has of a tile, in kDqParts parts.
  PLINTH_DEVICE void add(int32_t index, int32_t maker, int32_t rank) {
    Global<float> to = sums(index, maker);
    for (int part = 0; part < Tile::kDqParts; ++part) {
      offer(DqTask::Add);
      if (part == 0) wait_for_turn(index, maker, rank);
      Sums::wait(place);
      if (rank == 0) {
        bulk_store(to, Sums::tile(place), Tile::kDqBytes);
      } else {
        bulk_add(to, Sums::tile(place), Tile::kDqBytes);
      }
      end_piece();
      to = to + Tile::kDqBytes / 4;
    }
    bulk_wait<0>();
    store_release(done(index, maker), rank + 1);
  }

  // The same of the last tile of keys.
  PLINTH_DEVICE void finish(int32_t head, int32_t tile, int32_t maker, int32_t rank) {
    const int32_t index = a.workspace.index(head, work().first_tile, tile);
    wait_for_turn(index, maker, rank);
    for (int part = 0; part < Tile::kDqParts; ++part) {
      if (rank == 0) {
        offer(DqTask::Round);
      } else {
        offer(DqTask::AddRound, Tile::kDqBytes);
        bulk_load(Sums::tile(place),
                  Global<const float>(sums(index, maker) + part * (Tile::kDqBytes / 4)),
                  Tile::kDqBytes, Sums::empty(place));
      }
      Sums::wait(place);
      write(head, tile, (maker * Tile::kDqParts + part) * Tile::kDqColumns);
      end_piece();
    }
  }
  // Rounded columns from `column` on to dq: by TMA, where no row beyond the tile's is another
  // sequence's; else row by row.
  PLINTH_DEVICE void write(int32_t head, int32_t tile, int32_t column) const {
    const Work t = work();
    const int32_t row = t.q_begin + tile * Tile::kQueries;
    const int32_t rows = t.q_len - tile * Tile::kQueries;
    if (!a.lengths.cu_seqlens_q || rows >= Tile::kQueries) {
      tma_store(dq_map, {column, row, head, t.batch}, Tile::dq_tile(place));
      return;
    }
    const int32_t columns = least(static_cast<int32_t>(a.desc.head_dim) - column, Tile::kDqColumns);
    if (columns <= 0) return;
    PLINTH_NO_UNROLL
    for (int32_t r = 0; r < rows; ++r)
      bulk_store(row_of(a.dq, a.desc.dq, 0, head, row + r) + column,
                 Tile::dq_tile(place) + r * Tile::kDqColumns, 2 * static_cast<uint32_t>(columns));
  }

  // Read again where it is used: these warps have few registers.
  PLINTH_DEVICE Work work() const { return Tile::work(n.parity); }

  PLINTH_DEVICE void run() {
    const int32_t own = place.stage;
    int32_t stage = 0;
    for (;; n.advance()) {
      Numbers::wait(n);
      const int32_t number = Numbers::tile(n)[0];
      mbarrier_arrive(Numbers::empty(n));
      if (number >= a.schedule.count) return;
      each_turn<Tile>(
          a, [&] { return work(); },
          [&](int32_t head, int32_t tile, const TileTurn& turn) {
            PLINTH_NO_UNROLL
            for (int32_t maker = 0; maker < Tile::kDqMakers; ++maker) {
              if (stage == own && turn.last) {
                finish(head, tile, maker, turn.rank);
              } else if (stage == own) {
                add(a.workspace.index(head, work().first_tile, tile), maker, turn.rank);
              }
              stage = stage + 1 == Tile::kSumStages ? 0 : stage + 1;
            }
          });
    }
  }
};

}  // namespace plinth::kernels::cuda::attention
