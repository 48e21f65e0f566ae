#pragma once

// The forward kernel for sm_90a, and its launch. Algorithm: Dao, arXiv 2307.08691, and Shah et al.,
// arXiv 2407.08608 (FlashAttention-3): loads by a warp of their own, softmax of one warpgroup while
// another multiplies, and softmax of one tile while the same warpgroup multiplies the next. Here
// warpgroups take no turns at the tensor cores, as they do there: measured, turns gain nothing in
// long sequences and cost 4 to 7 % in short ones below a diagonal.

#include "kernels/attention/hopper/forward_results.cuh"
#include "kernels/attention/hopper/hopper.h"
#include "kernels/attention/hopper/maps.h"
#include "kernels/attention/hopper/softmax.cuh"

namespace plinth::kernels::cuda::attention {

// ---- the producer ----

template <class Tile, class T, class Rule>
PLINTH_DEVICE void fetch_forward(const TensorMap& q_map, const TensorMap& k_map,
                                 const TensorMap& v_map, const ForwardArguments<T, Rule>& a) {
  using Queries = typename Tile::Queries;
  using Keys = typename Tile::Keys;
  using Values = typename Tile::Values;
  typename Queries::Place q;
  typename Keys::Place k;
  typename Values::Place v;
  int32_t number = a.schedule.after(-1);
  for (; number < a.schedule.count; number = a.schedule.after(number)) {
    const QueryTile t(a.desc, a.lengths, a.schedule, number, Tile::kRows, Tile::kKeys);
    if (t.rows == 0) continue;
    const int32_t kv_head = t.head / a.schedule.group;
    const int32_t q_row = t.q_begin + t.first;
    const auto load_keys = [&](int32_t tile) {
      load_rows<Tile::kKeys, Tile::kColumns, Tile::kBoxColumns>(
          Keys::start(k), k_map, t.k_begin + tile * Tile::kKeys, kv_head, t.batch, Keys::full(k));
      k.advance();
    };
    // Keys before queries, whose place is free only when the tile before is finished.
    int32_t tile = tile_below<Tile>(a, t, t.tile);
    if (tile >= t.tile_begin) load_keys(tile);
    for (int group = 0; group < Tile::kConsumers; ++group) {
      Queries::wait_free(q);
      Tile::number(q)[0] = number;
      store_words(Tile::tile_words(q), t);
      load_rows<64, Tile::kColumns, Tile::kBoxColumns>(
          Queries::start_free(q), q_map, q_row + 64 * group, t.head, t.batch, Queries::full(q));
      q.advance();
    }
    while (tile >= t.tile_begin) {
      const int32_t next = tile_below<Tile>(a, t, tile);
      if (next >= t.tile_begin) load_keys(next);
      load_rows<Tile::kKeys, Tile::kColumns, Tile::kBoxColumns>(Values::start(v), v_map,
                                                                t.k_begin + tile * Tile::kKeys,
                                                                kv_head, t.batch, Values::full(v));
      v.advance();
      tile = next;
    }
  }
  for (int group = 0; group < Tile::kConsumers; ++group) {
    Queries::wait_free(q);
    Tile::number(q)[0] = number;
    mbarrier_arrive(Queries::full(q));
    q.advance();
  }
}

// ---- a consumer warpgroup ----

template <class Tile, class T, class Rule>
struct ForwardConsumer : ForwardResults<Tile, T, Rule> {
  using Base = ForwardResults<Tile, T, Rule>;
  using Base::a, Base::factor, Base::finish, Base::free_written, Base::group, Base::q;
  using typename Base::Queries;
  using typename Base::Sums;
  using Keys = typename Tile::Keys;
  using Values = typename Tile::Values;
  static constexpr int kKeySteps = Tile::kKeys / 16;
  using Scores = Registers<float, Tile::kKeys / 2>;  // of a tile
  using Weights = Registers<uint32_t, 4>[kKeySteps];
  // Whether a warpgroup that sees no more than the lower half of its first tile makes no more.
  static constexpr bool kHalves = Rule::kScaleOnly && Tile::kKeys == 128;
  // Whether it begins its next tile of queries before it ends the last one, which takes registers.
  static constexpr bool kAhead =
      Rule::kScaleOnly && Tile::kConsumers == 2 && Tile::kQueryStages == 2;

  typename Keys::Place k;
  typename Values::Place v;

  PLINTH_DEVICE ForwardConsumer(const ForwardArguments<T, Rule>& arguments, int32_t number)
      : Base(arguments, number) {}

  // scores = q k^T, of a tile's first keys, two for each of a thread's scores
  template <int half>
  PLINTH_DEVICE void multiply_keys(Registers<float, half>& scores,
                                   const typename Queries::Place& place) const {
    const MatrixDescriptor queries = not_ahead(Tile::Q::first(Queries::tile(place)));
    const MatrixDescriptor keys = Tile::K::first(Keys::tile(k));
    wgmma_fence(scores);
    PLINTH_UNROLL
    for (uint32_t step = 0; step < Tile::kColumns / 16; ++step)
      wgmma<T>(scores, queries + Tile::Q::offset(step), keys + Tile::K::offset(step), step > 0);
    wgmma_commit();
  }
  // sums += weights v, of all of a tile or of its lower half
  PLINTH_DEVICE void multiply_values(Sums& sums, Weights& weights, bool accumulate,
                                     bool lower) const {
    if constexpr (kHalves) {
      if (lower) return multiply_values_of<kKeySteps / 2>(sums, weights, accumulate);
    }
    multiply_values_of<kKeySteps>(sums, weights, accumulate);
  }
  template <uint32_t steps>
  PLINTH_DEVICE void multiply_values_of(Sums& sums, Weights& weights, bool accumulate) const {
    const MatrixDescriptor values = Tile::V::first(Values::tile(v));
    wgmma_fence(sums, weights);
    PLINTH_UNROLL
    for (uint32_t step = 0; step < steps; ++step)
      wgmma_from_registers<T, Major::MN>(sums, weights[step], values + Tile::V::offset(step),
                                         accumulate || step > 0);
    wgmma_commit();
  }

  // Makes scores of products with the first keys of a tile, and weights of these.
  template <int half>
  PLINTH_DEVICE void soften(const QueryTile& t, int32_t tile, Registers<float, half>& scores,
                            OnlineSoftmax& softmax, float (&decay)[2]) const {
    const int32_t first = t.first + 64 * group, key = tile * Tile::kKeys;
    if constexpr (Rule::kScaleOnly) {
      const int32_t last = least(first + 63, t.q_len - 1);
      if (key < t.sight.begin(last) || key + 2 * half > t.sight.end(first))
        hide(scores, t.sight, first, key);
    } else {
      auto score = a.rule.of(t.problem(), t.head);
      // A warpgroup without queries has nothing to look at.
      if (first < t.q_len) a.rule.look(score, {first, first + 64}, {key, key + Tile::kKeys});
      score_all(scores, score, t.sight, t.q_len, first, key);
    }
    softmax.soften(scores, factor(), decay);
    if constexpr (!Rule::kScaleOnly) {
      if (a.dropout.active()) {
        with_factors(Tile::Random::of(a.dropout), t.problem(), t.head, first, key, Tile::kKeys,
                     [&](int i, float keep) { scores[i] = scores[i] * keep; });
      }
    }
  }

  template <int half>
  PLINTH_DEVICE static void to_fragments(Registers<float, half>& scores, Weights& weights) {
    PLINTH_UNROLL
    for (int step = 0; step < half / 8; ++step) sums_to_fragment<T>(scores, step, weights[step]);
  }

  // Makes zeros of the values beyond the problem's keys, which are another sequence's or padding:
  // their weight is 0, but 0 times what lies there may be NaN. Only the last tile has such rows,
  // which is the first to be worked on. (Beyond the tensor there are zeros already.)
  PLINTH_ONE_COPY PLINTH_DEVICE void clear_padding(const QueryTile& t, int32_t tile) const {
    const int32_t begin = t.sight.visible % Tile::kKeys;
    if (begin == 0 || (tile + 1) * Tile::kKeys < t.sight.visible ||
        t.k_begin + t.sight.visible >= static_cast<int32_t>(a.desc.kv_len))
      return;
    Values::wait(v);
    constexpr int kUnits = Tile::kKeys * Tile::kColumns / 8, kRowUnits = Tile::kBoxColumns / 8;
    const Shared<T> values = Values::tile(v);
    PLINTH_NO_UNROLL
    for (auto i = static_cast<int32_t>(thread_index()) - 128; i < kUnits;
         i += 128 * Tile::kConsumers) {
      if (i / kRowUnits % Tile::kKeys >= begin) store_shared_vector(values + i * 8, Vector<T, 8>{});
    }
    fence_async_shared();
    named_sync(kConsumersOnly, 128 * Tile::kConsumers);
  }

  // The tiles of keys of which the warpgroup's own queries see something: from `end` - 1 down to
  // `begin`. All of the block's, where warpgroups' ends may be as many tiles apart as a ring has
  // stages: threads that did not wait for these would take one phase of a stage for another.
  struct OwnTiles {
    static constexpr bool kFewer = 64 * (Tile::kConsumers - 1) <= (Tile::kStages - 1) * Tile::kKeys;
    int32_t begin, end;

    PLINTH_DEVICE OwnTiles(const QueryTile& t, int32_t first) : begin(t.tile_begin), end(t.tile) {
      if constexpr (!kFewer) return;
      const int32_t last = least(first + 63, t.q_len - 1);
      begin = first > last ? end : t.sight.begin(first) / Tile::kKeys;
      if (first <= last) end = (t.sight.end(last) + Tile::kKeys - 1) / Tile::kKeys;
    }
  };

  // Passes over tiles that only other warpgroups work on, from `tile` down to `end`; gives the tile
  // below. One thread waits for them, and frees them.
  PLINTH_DEVICE int32_t pass_over(const QueryTile& t, int32_t tile, int32_t end) {
    while (tile >= end) {
      if (thread_index() % 128 == 0) {
        wait_for_keys();
        wait_for_values();
      }
      Keys::release(k);
      k.advance();
      Values::release(v);
      v.advance();
      tile = tile_below<Tile>(a, t, tile);
    }
    return tile;
  }
  PLINTH_ONE_COPY PLINTH_DEVICE void wait_for_keys() const { Keys::wait(k); }
  PLINTH_ONE_COPY PLINTH_DEVICE void wait_for_values() const { Values::wait(v); }
  PLINTH_ONE_COPY PLINTH_DEVICE void wait_for_queries(const typename Queries::Place& at) const {
    Queries::wait(at);
  }

  // Whether the warpgroup's queries see the lower half of a tile at most: below a diagonal those of
  // every other warpgroup do, of the tile to begin with.
  PLINTH_DEVICE bool sees_lower_half(const QueryTile& t, int32_t tile) const {
    const int32_t last = least(t.first + 64 * group + 63, t.q_len - 1);
    return kHalves && t.sight.end(last) <= tile * Tile::kKeys + Tile::kKeys / 2;
  }
  // The weights of the tile to begin with, or of its lower half.
  PLINTH_DEVICE void begin_tiles(const QueryTile& t, int32_t tile, OnlineSoftmax& softmax,
                                 Weights& weights) {
    wait_for_keys();
    if constexpr (kHalves) {
      if (sees_lower_half(t, tile))
        return begin_tiles_of<Tile::kKeys / 4>(t, tile, softmax, weights);
    }
    begin_tiles_of<Tile::kKeys / 2>(t, tile, softmax, weights);
  }
  template <int half>
  PLINTH_DEVICE void begin_tiles_of(const QueryTile& t, int32_t tile, OnlineSoftmax& softmax,
                                    Weights& weights) {
    Registers<float, half> scores;
    multiply_keys(scores, q);
    free_written();
    wgmma_wait<0>(scores);
    Keys::release(k);
    k.advance();
    weigh_first(t, tile, scores, softmax, weights);
  }
  // Products become the weights of the tile to begin with, before which there are no sums.
  template <int half>
  PLINTH_DEVICE void weigh_first(const QueryTile& t, int32_t tile, Registers<float, half>& scores,
                                 OnlineSoftmax& softmax, Weights& weights) const {
    float decay[2];
    soften(t, tile, scores, softmax, decay);
    to_fragments(scores, weights);
  }

  // The keys of a tile below `tile`, whose weights are made, the softmax of it, and the values of
  // the tile before it; down to `begin`. What is left to do: the values of the last one.
  struct Left {
    int32_t tile;     // the one below all
    bool accumulate;  // there were others
    bool lower;       // the only one, of which the lower half is seen
  };
  PLINTH_DEVICE Left run_tiles(const QueryTile& t, int32_t tile, int32_t begin, Sums& sums,
                               Weights& weights, OnlineSoftmax& softmax) {
    Left left{tile_below<Tile>(a, t, tile), false, sees_lower_half(t, tile)};
    for (; left.tile >= begin; left.tile = tile_below<Tile>(a, t, left.tile)) {
      Scores scores;
      float decay[2];
      Keys::wait(k);
      multiply_keys(scores, q);
      Values::wait(v);
      multiply_values(sums, weights, left.accumulate, left.lower);
      wgmma_wait<1>(scores);
      Keys::release(k);
      k.advance();
      soften(t, left.tile, scores, softmax, decay);
      hold_wait(std::fmin(softmax.total[0], softmax.total[1]));
      wgmma_wait<0>(sums, weights);
      Values::release(v);
      v.advance();
      PLINTH_UNROLL
      for (int i = 0; i < Tile::kColumns / 2; ++i) sums[i] *= decay[row_half(i)];
      to_fragments(scores, weights);
      left.accumulate = true;
      left.lower = false;
    }
    return left;
  }

  // The place of the warpgroup's next tile of queries.
  PLINTH_DEVICE typename Queries::Place next_queries() const {
    typename Queries::Place next = q;
    PLINTH_UNROLL
    for (int i = 0; i < Tile::kConsumers; ++i) next.advance();
    return next;
  }
  // Waits for the next tile of queries: whether there is one, and the warpgroup begins with the
  // block's first tile of keys.
  PLINTH_DEVICE bool begins_next() const {
    const auto next = next_queries();
    wait_for_queries(next);
    if (Tile::number(next)[0] >= a.schedule.count) return false;
    const auto t = load_words<QueryTile>(Tile::tile_words(next));
    return begins(t, OwnTiles(t, t.first + 64 * group), tile_below<Tile>(a, t, t.tile));
  }
  // Whether the warpgroup works on the block's first tile of keys.
  PLINTH_DEVICE static bool begins(const QueryTile& t, const OwnTiles& own, int32_t tile) {
    return tile < greatest(own.end, t.tile_begin) && tile >= own.begin;
  }
  // The first keys of the next tile of queries, whose weights they become, under the last values of
  // this one, and under its results' way out.
  PLINTH_DEVICE void end_and_begin(const TensorMap& out_map, Sums& sums, Weights& weights,
                                   OnlineSoftmax& softmax) {
    const auto next = next_queries();
    Scores scores;
    wait_for_keys();
    multiply_keys(scores, next);
    wgmma_wait<1>(sums, weights);
    Values::release(v);
    v.advance();
    finish(out_map, load_words<QueryTile>(Tile::tile_words(q)), sums, softmax);
    wgmma_wait<0>(scores);
    Keys::release(k);
    k.advance();
    q = next;
    softmax = {};
    const auto t = load_words<QueryTile>(Tile::tile_words(q));
    const int32_t tile = tile_below<Tile>(a, t, t.tile);
    if (sees_lower_half(t, tile)) {
      Registers<float, Tile::kKeys / 4> lower;
      PLINTH_UNROLL
      for (int i = 0; i < Tile::kKeys / 4; ++i) lower[i] = scores[i];
      weigh_first(t, tile, lower, softmax, weights);
    } else {
      weigh_first(t, tile, scores, softmax, weights);
    }
    free_written();
    clear_padding(t, tile);
  }

  PLINTH_DEVICE void run(const TensorMap& out_map) {
    Weights weights;
    OnlineSoftmax softmax;
    bool begun = false;  // the weights of the first tile are made
    for (;;) {
      if (!begun) wait_for_queries(q);
      if (Tile::number(q)[0] >= a.schedule.count) break;
      const auto t = load_words<QueryTile>(Tile::tile_words(q));
      const OwnTiles own(t, t.first + 64 * group);
      int32_t tile = tile_below<Tile>(a, t, t.tile);
      if (!begun) {
        softmax = {};
        tile = begin_queries(t, own, tile, softmax, weights);
      }
      Sums sums;
      begun = false;
      if (tile >= own.begin) {
        const Left left = run_tiles(t, tile, own.begin, sums, weights, softmax);
        tile = left.tile;
        wait_for_values();
        multiply_values(sums, weights, left.accumulate, left.lower);
        if constexpr (kAhead) {
          begun = tile < t.tile_begin && begins_next();
          if (begun) {
            end_and_begin(out_map, sums, weights, softmax);
            continue;
          }
        }
        wgmma_wait<0>(sums, weights);
        Values::release(v);
        v.advance();
      }
      pass_over(t, tile, t.tile_begin);
      free_written();
      finish(out_map, t, sums, softmax);
      if constexpr (Tile::kQueryStages == 1) free_written();
      q = next_queries();
    }
    // Nobody waits for the place any more, but shared memory is gone with the block.
    if (Tile::kQueryStages > 1 && thread_index() % 128 == 0) bulk_wait_read<0>();
  }
  // Passes over the tiles that only others work on, and makes the weights of the first one that the
  // warpgroup works on, if there is any. Gives that tile, or the one where it would be.
  PLINTH_DEVICE int32_t begin_queries(const QueryTile& t, const OwnTiles& own, int32_t tile,
                                      OnlineSoftmax& softmax, Weights& weights) {
    const bool first = begins(t, own, tile);  // and helps to clear it then
    if (!first && tile >= t.tile_begin) clear_padding(t, tile);
    tile = pass_over(t, tile, greatest(own.end, t.tile_begin));
    if (tile < own.begin) return tile;
    begin_tiles(t, tile, softmax, weights);
    if (first) clear_padding(t, tile);
    return tile;
  }
};

// Maps of q and out in boxes of 64 rows, of k and v in boxes of kKeys.
template <class T, int kColumns, class Rule>
PLINTH_KERNEL_BOUNDS((ForwardTile<T, kColumns, Rule::kScaleOnly>::kThreads), 1)
PLINTH_KERNEL
    void hopper_forward_kernel(const PLINTH_GRID_CONSTANT TensorMap q_map,
                               const PLINTH_GRID_CONSTANT TensorMap k_map,
                               const PLINTH_GRID_CONSTANT TensorMap v_map,
                               const PLINTH_GRID_CONSTANT TensorMap out_map,
                               const PLINTH_GRID_CONSTANT ForwardArguments<T, Rule> arguments) {
  if constexpr (kHopper) {
    using Tile = ForwardTile<T, kColumns, Rule::kScaleOnly>;
    if (thread_index() == 0) {
      Tile::Queries::init(1);
      Tile::Keys::init(Tile::kConsumers);
      Tile::Values::init(Tile::kConsumers);
      mbarrier_fence_init();
      if constexpr (!Rule::kScaleOnly) Tile::Random::read(arguments.dropout);
    }
    block_sync();
    // Alike in all lanes, which the compiler does not see by itself.
    const auto warpgroup = static_cast<int32_t>(shuffle(thread_index() / 128, 0));
    if (warpgroup == 0) {
      registers_decrease<Tile::kProducerRegisters>();
      if (warp_index() == 0 && elect_one()) fetch_forward<Tile>(q_map, k_map, v_map, arguments);
    } else {
      registers_increase<Tile::kConsumerRegisters>();
      ForwardConsumer<Tile, T, Rule>(arguments, warpgroup - 1).run(out_map);
    }
  }
}

template <class = void>
PLINTH_KERNEL void clear_ticket(Global<int32_t> ticket) {
  ticket[0] = 0;
}

template <class T, int kColumns, class Rule>
void launch_hopper_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k,
                           const T* v, T* out, float* lse, void* workspace) {
  using Tile = ForwardTile<T, kColumns, Rule::kScaleOnly>;
  Schedule schedule = schedule_of(d, Tile::kRows, sizeof(T));
  const int32_t blocks = std::min(schedule.count, device_limits().multiprocessors);
  if (workspace && tiles_differ(d) && schedule.count > blocks) {
    schedule.ticket = static_cast<int32_t*>(workspace);
    launch("hopper_attention_ticket", clear_ticket<>, {{1}, {1}}, stream, schedule.ticket);
  }
  const ForwardArguments<T, Rule> arguments{
      d,  {d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k}, schedule, Rule(d), Dropout<float>(d), out,
      lse};
  const auto map = [&](const T* p, const AttentionDesc::Strides& s, int64_t heads, int64_t length,
                       int64_t rows) {
    return head_map(p, s, d, heads, length, rows, Tile::kBoxColumns, Tile::kSwizzle);
  };
  launch("hopper_attention_forward", hopper_forward_kernel<T, kColumns, Rule>,
         {{static_cast<uint32_t>(blocks)}, {Tile::kThreads}, Tile::kSharedBytes}, stream,
         map(q, d.q, d.heads, d.q_len, 64), map(k, d.k, d.kv_heads, d.kv_len, Tile::kKeys),
         map(v, d.v, d.kv_heads, d.kv_len, Tile::kKeys), map(out, d.out, d.heads, d.q_len, 64),
         arguments);
}

}  // namespace plinth::kernels::cuda::attention
