#pragma once

// The warps of the backward kernel's first warpgroup: one takes work and fetches, one adds to dq.

#include "kernels/attention/hopper/backward_order.cuh"

namespace plinth::kernels::cuda::attention {

// Fetches what the work needs.
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
  for (bool first = true;; first = false) {
    Numbers::wait(n);
    const int32_t number = Numbers::tile(n)[0];
    n.advance();
    if (number >= a.count) return;
    const typename Tile::Work t(a.desc, a.lengths, a.order, a.tiles, number);
    load_rows<Tile::kKeys, Tile::kColumns, Tile::kBoxColumns>(
        Keys::start(k), k_map, t.k_begin + t.first, t.kv_head, t.batch, Keys::full(k));
    load_rows<Tile::kKeys, Tile::kColumns, Tile::kBoxColumns>(
        Values::start_free(k), v_map, t.k_begin + t.first, t.kv_head, t.batch, Values::full(k));
    // The place of the number before: consumers have read it, since they have freed its keys.
    if (!first) mbarrier_arrive(Numbers::empty(n));
    mbarrier_wait(Tile::gradients_gone(), k.parity ^ 1);
    k.advance();
    for (int32_t head = t.kv_head * a.group; head < (t.kv_head + 1) * a.group; ++head) {
      int32_t tile = t.start;
      for (int32_t left = t.tile_end - t.tile; left > 0; --left, tile = t.after(tile)) {
        if (turn_of<Tile>(a, t, head, tile).empty) continue;
        const int32_t row = t.q_begin + tile * Tile::kQueries;
        load_rows<Tile::kQueries, Tile::kColumns, Tile::kBoxColumns>(
            Queries::start(q, Tile::kQueryBytes + Tile::kStatisticsBytes), q_map, row, head,
            t.batch, Queries::full(q));
        const int64_t statistics =
            int64_t{a.workspace.index(head, t.first_tile, tile)} * 2 * Tile::kQueries;
        bulk_load(Tile::statistics(q), Global<const float>(a.workspace.statistics + statistics),
                  Tile::kStatisticsBytes, Queries::full(q));
        load_rows<Tile::kQueries, Tile::kColumns, Tile::kBoxColumns>(Douts::start(o), dout_map, row,
                                                                     head, t.batch, Douts::full(o));
        q.advance();
        o.advance();
      }
    }
  }
}

// Takes a block's next piece of work, and tells its other warps. `works` is how many there were, of
// which the last one had this number. Where a tile of the last one has been made, all have read
// the number before it; else that is to be waited for.
template <class Tile, class T, class Rule>
PLINTH_DEVICE int32_t take_work(const BackwardArguments<T, Rule>& a, int32_t works, int32_t number,
                                bool is_read) {
  using Numbers = typename Tile::Numbers;
  if (a.order == KeyOrder::Descending) {
    number = atomic_add(a.workspace.ticket, 1);
  } else {
    number = static_cast<int32_t>(number < 0 ? block_index().x : number + grid_blocks().x);
  }
  const auto place = Numbers::Place::after(works);
  if (!is_read) mbarrier_wait(Numbers::empty(place), place.parity ^ 1);
  Numbers::tile(place)[0] = number;
  mbarrier_arrive(Numbers::full(place));
  return number;
}

// Adds what the consumers make to dq, each tile when it is its turn. Others learn of a tile when
// the next one is on its way, so that nobody waits here for the memory; or before this warp waits.
template <class Tile, class T, class Rule>
struct DqAdder {
  using Sums = typename Tile::Sums;
  static_assert(Tile::kConsumers == 2);
  static constexpr bool kTellsLate = Rule::kScaleOnly;  // which takes registers
  const BackwardArguments<T, Rule>& a;
  int32_t pieces = 0;     // that were added: places in the ring follow
  int32_t told_rank = 0;  // of the tile that others have not been told of; 0: none
  int32_t told_index = 0;

  PLINTH_DEVICE explicit DqAdder(const BackwardArguments<T, Rule>& arguments) : a(arguments) {}

  PLINTH_DEVICE bool is_turn(int32_t index, int32_t rank) const {
    return load_acquire(a.workspace.done + index) >= rank;
  }
  // Tells of the tile before, with `newer` groups of additions begun since.
  template <int newer>
  PLINTH_DEVICE void tell() {
    if (told_rank == 0) return;
    bulk_wait<newer>();
    fence_async_all();
    store_release(a.workspace.done + told_index, told_rank);
    told_rank = 0;
  }

  PLINTH_DEVICE void add_part(int part, int32_t index, int32_t rank) {
    PLINTH_UNROLL
    for (int32_t maker = 0; maker < Tile::kDqMakers; ++maker) {
      const Global<float> to =
          a.workspace.dq +
          (int64_t{index} * Tile::kDqPieces + maker * Tile::kDqParts + part) * (Tile::kDqBytes / 4);
      const auto from = Sums::tile(Sums::Place::after(pieces + maker));
      if (rank == 0) {
        bulk_store(to, from, Tile::kDqBytes);
      } else {
        bulk_add(to, from, Tile::kDqBytes);
      }
    }
    bulk_commit();
  }
  PLINTH_DEVICE void wait_for_part() const {
    PLINTH_UNROLL
    for (int32_t maker = 0; maker < Tile::kDqMakers; ++maker)
      Sums::wait(Sums::Place::after(pieces + maker));
  }
  PLINTH_DEVICE void free_part() {
    bulk_wait_read<0>();
    PLINTH_UNROLL
    for (int32_t maker = 0; maker < Tile::kDqMakers; ++maker)
      mbarrier_arrive(Sums::empty(Sums::Place::after(pieces + maker)));
    pieces += Tile::kDqMakers;
  }

  // The tile is made, and `ready` if its turn had come before.
  PLINTH_DEVICE void add(int32_t index, int32_t rank, bool ready) {
    if (!ready && !is_turn(index, rank)) {
      tell<0>();  // which others may be waiting for
      while (!is_turn(index, rank)) {
      }
    }
    add_part(0, index, rank);
    for (int part = 1; part < Tile::kDqParts; ++part) {
      free_part();
      wait_for_part();
      add_part(part, index, rank);
    }
    if constexpr (kTellsLate) tell<Tile::kDqParts>();
    free_part();
    told_index = index, told_rank = rank + 1;
    if constexpr (!kTellsLate) tell<0>();
  }
};

// Adds to dq in the order of the tiles of keys, and takes work: the next piece when the last one is
// made. Earlier it would be kept from a block that is free, and, below a diagonal, keep others from
// their turns.
template <class Tile, class T, class Rule>
PLINTH_DEVICE void add_dq(const BackwardArguments<T, Rule>& a) {
  DqAdder<Tile, T, Rule> adder(a);
  int32_t works = 0, number = take_work<Tile>(a, works++, -1, true);
  while (number < a.count) {
    const typename Tile::Work t(a.desc, a.lengths, a.order, a.tiles, number);
    const int32_t last_head = (t.kv_head + 1) * a.group - 1;
    for (int32_t head = t.kv_head * a.group; head <= last_head; ++head) {
      int32_t tile = t.start;
      for (int32_t left = t.tile_end - t.tile; left > 0; --left, tile = t.after(tile)) {
        const TileTurn turn = turn_of<Tile>(a, t, head, tile);
        if (turn.empty) continue;
        const int32_t index = a.workspace.index(head, t.first_tile, tile);
        bool ready = false;
        if constexpr (adder.kTellsLate) ready = adder.is_turn(index, turn.rank);
        adder.wait_for_part();
        if (!Rule::kMasks && left == 1 && head == last_head)
          number = take_work<Tile>(a, works++, number, true);
        adder.add(index, turn.rank, ready);
      }
    }
    adder.template tell<0>();
    if (Rule::kMasks || t.tile == t.tile_end) number = take_work<Tile>(a, works++, number, false);
  }
}

}  // namespace plinth::kernels::cuda::attention
