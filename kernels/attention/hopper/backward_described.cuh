#pragma once

// The consumers of the backward kernel to 128 columns, of all that a description can ask for, and
// of a functor: a tile of queries after the other, a few queries' scores at a time.

#include "kernels/attention/hopper/backward.cuh"

namespace plinth::kernels::cuda::attention {

template <class Tile_, class T, class Rule>
struct DescribedBackwardConsumer : BackwardConsumer<Tile_, T, Rule> {
  using Base = BackwardConsumer<Tile_, T, Rule>;
  using Tile = Tile_;
  static_assert(!Rule::kScaleOnly && !Tile::kWide);
  using Base::a, Base::group, Base::kPart, Base::steps;
  using typename Base::Douts;
  using typename Base::DqPart;
  using typename Base::Fragments;
  using typename Base::Gradient;
  using typename Base::OwnRows;
  using typename Base::Queries;
  using typename Base::Scores;
  using typename Base::Work;

  PLINTH_DEVICE DescribedBackwardConsumer(const BackwardArguments<T, Rule>& arguments,
                                          int32_t number)
      : Base(arguments, number) {}

  // Both at once, of all that a description can ask for: products and slopes of weights become
  // weights, with their dropout, and slopes of products, of queries `first` and on. Each pair is
  // rounded and put away at once, as registers are few.
  PLINTH_DEVICE void weigh_all(const Work& t, int32_t head, bool asks, int32_t first,
                               Scores& scores, Scores& slope_of, Registers<uint32_t, 4>* weights,
                               Registers<uint32_t, 4>* slopes_of) const {
    Problem p = t.problem();  // and what follows from it is not kept from tile to tile
    p.q_len = not_ahead(t.q_len), p.kv_len = not_ahead(t.kv_len), p.sample = not_ahead(t.sample);
    auto score = a.rule.of(p, head);
    if constexpr (Rule::kMasks) score.asks = asks;
    const int32_t first_key = not_ahead(t.first + 64 * group);
    PLINTH_UNROLL
    for (int i = 0; i < kPart / 2; i += 4) {
      const Vector<float, 2> lse = this->statistic(0, first % Tile::kQueries, i);
      const Vector<float, 2> delta = this->statistic(1, first % Tile::kQueries, i);
      float factors[4] = {1, 1, 1, 1};
      if (a.dropout.active())
        draw_factors(Tile::Random::of(a.dropout), p, head, first + own_column(i), first_key,
                     factors);
      PLINTH_UNROLL
      for (int e = 0; e < 4; ++e) {
        const Score<float> s = score_of(t, score, scores[i + e], first + own_column(i + e),
                                        first_key + own_row(e / 2));
        const float weight = fast_exp2(s.value - lse[e % 2]);
        scores[i + e] = weight * factors[e];
        slope_of[i + e] = weight * (factors[e] * slope_of[i + e] - delta[e % 2]) * s.slope;
      }
      PLINTH_UNROLL
      for (int e = 0; e < 4; e += 2) {
        weights[i / 8][i % 8 / 2 + e / 2] = pack<T>(scores[i + e], scores[i + e + 1]);
        slopes_of[i / 8][i % 8 / 2 + e / 2] = pack<T>(slope_of[i + e], slope_of[i + e + 1]);
      }
      if (i % 8 == 4) compute_now(weights[i / 8], slopes_of[i / 8]);
    }
  }

  // One tile of queries of one head, of which a functor is asked whether pairs are seen or not.
  // `makes_dq`: whether the warpgroup makes dq of it, or a half.
  template <bool makes_dq>
  PLINTH_DEVICE void run_tile(const Work& t, int32_t head, int32_t tile, bool asks, OwnRows& keys,
                              OwnRows& values, Gradient& dk, Gradient& dv, bool accumulate) {
    Fragments weights, slope_fragments;
    this->clear_queries(t, tile);
    Queries::wait(this->query_place());
    const Shared<T> queries = Queries::tile(this->query_place()),
                    douts = Douts::tile(this->dout_place());
    Douts::wait(this->dout_place());
    PLINTH_UNROLL
    for (int part = 0; part < Tile::kQueries; part += kPart) {
      Scores scores, slope_of;
      this->multiply_rows(keys, queries + part * Tile::kBoxColumns, scores);
      this->multiply_rows(values, douts + part * Tile::kBoxColumns, slope_of);
      wgmma_wait<0>(scores, slope_of);
      weigh_all(t, head, asks, tile * Tile::kQueries + part, scores, slope_of, weights + part / 16,
                slope_fragments + part / 16);
    }
    this->multiply_queries(weights, douts, dv, accumulate);
    this->store_slopes(slope_fragments);
    this->template meet<makes_dq>();
    if constexpr (makes_dq) {
      DqPart dq;
      this->multiply_slopes(dq);
      this->multiply_queries(slope_fragments, Queries::tile(this->query_place()), dk, accumulate);
      wgmma_wait<1>(dq, dv, weights);
      Douts::release(this->dout_place());
      this->hand_over(dq);
    } else {
      this->multiply_queries(slope_fragments, Queries::tile(this->query_place()), dk, accumulate);
      wgmma_wait<1>(dv, weights);
      Douts::release(this->dout_place());
    }
    wgmma_wait<0>(dk, slope_fragments);
    Queries::release(this->query_place());
    ++steps;
  }

  // Before the first tile under a functor's mask.
  PLINTH_DEVICE static void clear(Gradient& gradient) {
    if constexpr (Rule::kMasks) {
      PLINTH_UNROLL
      for (int i = 0; i < Tile::kColumns / 2; ++i) gradient[i] = 0;
    }
  }

  PLINTH_DEVICE void run(const TensorMap& dk_map, const TensorMap& dv_map) {
    this->each_piece(
        dk_map, dv_map,
        [&](const Work&, OwnRows& keys, OwnRows& values, Gradient& dk, Gradient& dv) {
          clear(dk);
          clear(dv);
          this->each_tile(
              [&](const Work& t, int32_t head, int32_t tile, bool asks, bool accumulate) {
                this->by_turns([&](auto makes_dq) {
                  run_tile<makes_dq()>(t, head, tile, asks, keys, values, dk, dv, accumulate);
                });
              });
        });
  }
};

}  // namespace plinth::kernels::cuda::attention
