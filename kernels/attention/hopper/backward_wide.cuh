#pragma once

// The consumers of the backward kernel beyond 128 columns, where the two gradients of 64 keys fill
// the registers of two warpgroups. One has the values' side: scores, weights, dv; the other the
// keys' side: slopes of weights, slopes of scores, dk. So each product is made once, each operand
// read by the one that needs it, and a gradient's other operand comes from registers. Weights pass
// from the first to the second, slopes from the second to the first, for dq, of which each makes
// half of the columns, 64 at a time.
//
// A step, 64 keys by 64 queries of 256 columns:
//
//   products       10 x 64 x 64 x 256 operations: 2560 clocks of the tensor cores
//   exponentials   4096: 256 clocks
//   shared memory  scores and slopes of weights read 128 KiB, dv and dk 64, dq 64; weights take 32
//                  there and back, slopes 8, q and dout coming in 64, dq out 128: 488 KiB, 3904
//                  clocks, which bound it
//   registers      a gradient, 128, and at most 64 besides: weights and slopes of weights, or two
//                  parts of dq

#include <bit>

#include "kernels/attention/hopper/backward.cuh"

namespace plinth::kernels::cuda::attention {

template <class Tile_, class T, class Rule>
struct WideBackwardConsumer : BackwardConsumer<Tile_, T, Rule> {
  using Base = BackwardConsumer<Tile_, T, Rule>;
  using Tile = Tile_;
  static_assert(!Rule::kMasks, "gradients under a functor's mask have up to 128 columns");
  using Base::a, Base::half, Base::steps;
  using Base::kThreads;
  using typename Base::Douts;
  using typename Base::DqPart;
  using typename Base::Fragments;
  using typename Base::Gradient;
  using typename Base::Keys;
  using typename Base::Queries;
  using typename Base::Scores;
  using typename Base::Values;
  using typename Base::Work;

  PLINTH_DEVICE WideBackwardConsumer(const BackwardArguments<T, Rule>& arguments, int32_t number)
      : Base(arguments, number) {}

  // ---- weights on their way from one warpgroup to the other, thread by thread ----

  PLINTH_DEVICE static Shared<float> sent_weights() {
    return shared_array<float>(Tile::kWeightsAt, Tile::kWeightBytes / 4);
  }
  PLINTH_DEVICE static void receive(Scores& weights) {
    PLINTH_UNROLL
    for (int i = 0; i < Tile::kQueries / 2; i += 4) {
      const auto four = load_vector<Vector<float, 4>>(four_of(sent_weights(), i));
      PLINTH_UNROLL
      for (int e = 0; e < 4; ++e) weights[i + e] = four[e];
    }
  }

  // With all that a description can ask for: products become weights with their dropout. Sent are
  // weights times their scores' slopes, whose last bit tells whether dropout keeps the weight.
  PLINTH_DEVICE void weigh_and_send(const Work& t, int32_t head, int32_t tile, Scores& scores) {
    Problem p = t.problem();
    p.q_len = not_ahead(t.q_len), p.kv_len = not_ahead(t.kv_len), p.sample = not_ahead(t.sample);
    const auto score = a.rule.of(p, head);
    const int32_t first_query = tile * Tile::kQueries;
    PLINTH_UNROLL
    for (int i = 0; i < Tile::kQueries / 2; i += 4) {
      const Vector<float, 2> lse = this->statistic(0, 0, i);
      float factors[4] = {1, 1, 1, 1};
      if (a.dropout.active())
        draw_factors(Tile::Random::of(a.dropout), p, head, first_query + own_column(i), t.first,
                     factors);
      Vector<float, 4> sent;
      PLINTH_UNROLL
      for (int e = 0; e < 4; ++e) {
        const Score<float> s = score_of(t, score, scores[i + e], first_query + own_column(i + e),
                                        t.first + own_row(e / 2));
        const float weight = fast_exp2(s.value - lse[e % 2]);
        scores[i + e] = weight * factors[e];
        const auto bits = std::bit_cast<uint32_t>(weight * s.slope) & ~1u;
        sent[e] = std::bit_cast<float>(bits | (factors[e] != 0 ? 1u : 0u));
      }
      store_shared_vector(four_of(sent_weights(), i), sent);
    }
  }
  // Slopes of weights become slopes of products, by what weigh_and_send() sent.
  PLINTH_DEVICE void slope_kept(Scores& weights, Scores& slope_of) const {
    PLINTH_UNROLL
    for (int i = 0; i < Tile::kQueries / 2; ++i) {
      const bool kept = (std::bit_cast<uint32_t>(static_cast<float>(weights[i])) & 1u) != 0;
      slope_of[i] = kept ? slope_of[i] * a.dropout.keep : 0.0f;
    }
    this->slope(weights, slope_of);
  }

  // ---- one tile of queries of one head ----

  PLINTH_DEVICE void run_values_tile(const Work& t, int32_t head, int32_t tile, Gradient& dv,
                                     bool accumulate) {
    Scores scores;
    Fragments weights;
    this->clear_queries(t, tile);
    Queries::wait(this->query_place());
    this->multiply_rows(Keys::tile(this->key_place()), Queries::tile(this->query_place()), scores);
    wgmma_wait<0>(scores);
    if constexpr (Rule::kScaleOnly) {
      this->hide_pairs(t, tile, scores);
      this->weigh(scores);
      put(sent_weights(), scores);
    } else {
      weigh_and_send(t, head, tile, scores);
    }
    named_arrive(kWeightsSent, kThreads);
    Base::to_fragments(scores, weights);
    Douts::wait(this->dout_place());
    this->multiply_queries(weights, Douts::tile(this->dout_place()), dv, accumulate);
    named_sync(kBothConsumers, kThreads);  // slopes are there, and all have read statistics
    Queries::release(this->query_place());
    DqPart dq, dq_rest;
    this->multiply_slopes(dq, 0);
    wgmma_wait<1>(dv, weights);
    Douts::release(this->dout_place());
    this->multiply_slopes(dq_rest, 1);
    wgmma_wait<1>(dq);
    this->hand_over(dq, 0);
    wgmma_wait<0>(dq_rest);
    this->hand_over(dq_rest, 1);
    ++steps;
  }

  PLINTH_DEVICE void run_keys_tile(const Work& t, int32_t tile, Gradient& dk, bool accumulate) {
    Scores weights, slope_of;
    Fragments slopes;
    this->clear_queries(t, tile);
    Douts::wait(this->dout_place());
    this->multiply_rows(Values::tile(this->key_place()), Douts::tile(this->dout_place()), slope_of);
    named_sync(kWeightsSent, kThreads);  // queries are there too, whose sender waited for them
    receive(weights);
    wgmma_wait<0>(slope_of);
    Douts::release(this->dout_place());
    if constexpr (Rule::kScaleOnly) {
      this->slope(weights, slope_of);
    } else {
      slope_kept(weights, slope_of);
    }
    Base::to_fragments(slope_of, slopes);
    this->store_slopes(slopes);
    named_sync(kBothConsumers, kThreads);
    DqPart dq, dq_rest;
    this->multiply_slopes(dq, 0);
    this->multiply_queries(slopes, Queries::tile(this->query_place()), dk, accumulate);
    wgmma_wait<1>(dq);
    this->hand_over(dq, 0);
    this->multiply_slopes(dq_rest, 1);
    wgmma_wait<1>(dk, slopes);
    Queries::release(this->query_place());
    wgmma_wait<0>(dq_rest);
    this->hand_over(dq_rest, 1);
    ++steps;
  }

  // The warpgroup's gradient to shared memory, and from there on. What lies in that place, only the
  // warpgroup itself has read since both met.
  PLINTH_DEVICE void finish_one(const TensorMap& map, Shared<T> tile, Global<T> to,
                                const AttentionDesc::Strides& strides, float scale, const Work& t,
                                Gradient& gradient) {
    const bool any = Base::has_gradient(t);
    this->sync_own();  // the last piece's gradient has left, also where this one has no tiles
    this->store_gradient(gradient, scale, any, tile);
    fence_async_shared();
    this->sync_own();
    this->free_keys(any);
    if (this->write_rows(map, tile, to, strides, t)) this->sync_own();
    this->end_work();
  }

  PLINTH_DEVICE void run(const TensorMap& dk_map, const TensorMap& dv_map) {
    if (half == 0) {
      this->each_work([&](const Work&) {
        Gradient dv;
        this->each_tile([&](const Work& t, int32_t head, int32_t tile, bool, bool accumulate) {
          run_values_tile(t, head, tile, dv, accumulate);
        });
        finish_one(dv_map, Tile::dv_tile(), a.dv, a.desc.dv, 1, this->work(), dv);
      });
    } else {
      this->each_work([&](const Work&) {
        Gradient dk;
        this->each_tile([&](const Work& t, int32_t, int32_t tile, bool, bool accumulate) {
          run_keys_tile(t, tile, dk, accumulate);
        });
        finish_one(dk_map, Tile::dk_tile(), a.dk, a.desc.dk, static_cast<float>(a.desc.scale),
                   this->work(), dk);
      });
    }
  }
};

}  // namespace plinth::kernels::cuda::attention
