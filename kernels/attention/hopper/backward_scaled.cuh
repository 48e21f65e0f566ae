#pragma once

// The consumers of the backward kernel to 128 columns, of scores that are scaled alone. Products of
// a tile of queries run under the exponentials of the next one:
//
//   dv         of this tile        under the meeting of the warpgroups
//   scores     of the next tile    the same
//   dq         of this tile
//   dk, half   of this tile        under dq's way to shared memory
//   slopes     of the next tile    under the next tile's exponentials
//   dk, half   of this tile        under the next tile's slopes of scores
//
// dk reads slopes from shared memory, where dq needs them anyway, and so takes no registers for
// them. Of 128 columns at most 192 registers hold sums at once: two gradients, 128, scores, 32, and
// either dq or slopes of weights, 32.

#include <bit>

#include "kernels/attention/hopper/backward.cuh"

namespace plinth::kernels::cuda::attention {

template <class Tile_, class T, class Rule>
struct ScaledBackwardConsumer : BackwardConsumer<Tile_, T, Rule> {
  using Base = BackwardConsumer<Tile_, T, Rule>;
  using Tile = Tile_;
  static_assert(Rule::kScaleOnly && !Tile::kWide);
  using Base::a, Base::group, Base::steps;
  using typename Base::Douts;
  using typename Base::DqPart;
  using typename Base::Fragments;
  using typename Base::Gradient;
  using typename Base::OwnRows;
  using typename Base::Queries;
  using typename Base::Scores;
  using typename Base::Work;

  PLINTH_DEVICE ScaledBackwardConsumer(const BackwardArguments<T, Rule>& arguments, int32_t number)
      : Base(arguments, number) {}

  // Begins the scores of the tile of queries `ahead`.
  PLINTH_DEVICE void begin_scores(const Work& t, int32_t tile, int32_t ahead, OwnRows& keys,
                                  Scores& scores) const {
    const auto place = this->query_place(ahead);
    this->clear_queries(t, tile, ahead);
    Queries::wait(place);
    this->multiply_rows(keys, Queries::tile(place), scores);
  }
  // Begins the slopes of the weights of the tile of queries `ahead`.
  PLINTH_DEVICE void begin_slopes(int32_t ahead, OwnRows& values, Scores& slope_of) const {
    const auto place = this->dout_place(ahead);
    Douts::wait(place);
    this->multiply_rows(values, Douts::tile(place), slope_of);
  }
  // dk += the warpgroup's rows of the tile of slopes times queries, in two parts, of which the
  // second one ends the group of products.
  PLINTH_ONE_COPY PLINTH_DEVICE void add_to_dk(Gradient& dk, uint32_t part, bool accumulate) const {
    constexpr uint32_t kSteps = Tile::kQueries / 32;
    const MatrixDescriptor rows =
        not_ahead(Tile::KeyRows::first(this->slope_tile() + group * 64 * Tile::kBoxColumns));
    const MatrixDescriptor columns = Tile::QueryColumns::first(Queries::tile(this->query_place()));
    wgmma_fence(dk);
    PLINTH_UNROLL
    for (uint32_t step = part * kSteps; step < (part + 1) * kSteps; ++step)
      wgmma<T, Major::K, Major::MN>(dk, rows + Tile::KeyRows::offset(step),
                                    columns + Tile::QueryColumns::offset(step),
                                    accumulate || step > 0);
    if (part == 1) wgmma_commit();
  }

  // A number that all weights go into, none of which is negative.
  PLINTH_DEVICE static float all_of(Scores& weights) {
    uint32_t bits = 0;
    PLINTH_UNROLL
    for (int i = 0; i < Tile::kQueries / 2; ++i)
      bits |= std::bit_cast<uint32_t>(static_cast<float>(weights[i]));
    return std::bit_cast<float>(bits);
  }
  // The tile's products become weights, for dv, and slopes of scores, in shared memory for dq and
  // dk. `newer` groups of products were begun after those of slopes of weights.
  template <int newer>
  PLINTH_DEVICE void weigh_and_slope(const Work& t, int32_t tile, Scores& scores, Scores& slope_of,
                                     Fragments& weights) const {
    Fragments slopes;
    this->hide_pairs(t, tile, scores);
    this->weigh(scores);
    hold_wait(all_of(scores));
    wgmma_wait<newer>(slope_of);
    this->slope(scores, slope_of);
    Base::to_fragments(scores, weights);
    Base::to_fragments(slope_of, slopes);
    this->store_slopes(slopes);
  }

  // One tile of queries, whose weights and slopes are made, and those of the tile `next`, if there
  // is one.
  template <bool makes_dq, bool has_next>
  PLINTH_DEVICE void run_tile(const Work& t, int32_t next, OwnRows& keys, OwnRows& values,
                              Fragments& weights, Gradient& dk, Gradient& dv, bool accumulate) {
    Scores scores, slope_of;
    DqPart dq;
    this->multiply_queries(weights, Douts::tile(this->dout_place()), dv, accumulate);
    if constexpr (has_next) begin_scores(t, next, 1, keys, scores);
    this->template meet<makes_dq>();
    if constexpr (!makes_dq) this->sync_own();  // its own slopes, for dk
    if constexpr (!has_next) this->free_number();
    wgmma_wait<has_next ? 1 : 0>(dv, weights);
    Douts::release(this->dout_place());
    if constexpr (makes_dq) {
      this->multiply_slopes(dq);
      wgmma_wait<0>(scores, dq);
    } else if constexpr (has_next) {
      wgmma_wait<0>(scores);
    }
    add_to_dk(dk, 0, accumulate);
    if constexpr (makes_dq) this->hand_over(dq);
    if constexpr (has_next) begin_slopes(1, values, slope_of);
    add_to_dk(dk, 1, true);
    ++steps;
    if constexpr (has_next) weigh_and_slope<1>(t, next, scores, slope_of, weights);
    wgmma_wait<0>(dk);
    Queries::release(this->query_place(-1));
  }

  // All tiles of queries of a piece of work.
  PLINTH_DEVICE void run_tiles(const Work& t, OwnRows& keys, OwnRows& values, Gradient& dk,
                               Gradient& dv) {
    const int32_t all = (t.tile_end - t.tile) * a.group;  // of all heads that share the keys
    if (all <= 0) return;
    int32_t next = t.start;
    Fragments weights;
    {
      Scores scores, slope_of;
      begin_scores(t, next, 0, keys, scores);
      begin_slopes(0, values, slope_of);
      wgmma_wait<1>(scores);
      weigh_and_slope<0>(t, next, scores, slope_of, weights);
    }
    for (int32_t left = all; left > 1; --left) {
      next = t.after(next);
      this->by_turns([&](auto makes_dq) {
        run_tile<makes_dq(), true>(t, next, keys, values, weights, dk, dv, left < all);
      });
    }
    this->by_turns([&](auto makes_dq) {
      run_tile<makes_dq(), false>(t, next, keys, values, weights, dk, dv, all > 1);
    });
  }

  PLINTH_DEVICE void run(const TensorMap& dk_map, const TensorMap& dv_map) {
    this->each_piece(dk_map, dv_map,
                     [&](const Work& t, OwnRows& keys, OwnRows& values, Gradient& dk,
                         Gradient& dv) { run_tiles(t, keys, values, dk, dv); });
  }
};

}  // namespace plinth::kernels::cuda::attention
