#pragma once

// The backward kernel for sm_90a, and what its consumers share. A block has a tile of keys, whose
// gradients stay in its consumers' registers, and goes through the tiles of queries that see them.
// All products are of transposed scores, keys by queries: so weights are an operand of dv from
// registers; slopes pass through shared memory, for dq.
//
// dq is summed in float32 in global memory, by bulk additions whose order a count for each piece of
// a tile of queries sets: tile of keys after tile of keys. Blocks take their work in that order
// (KeyOrder), so that one which waits waits only for work that a running block has. The block whose
// tile of keys is the last one fetches the sum, adds its own piece to it, and rounds: so no other
// kernel reads all sums again.

#include "kernels/attention/hopper/backward_pairs.cuh"
#include "kernels/attention/hopper/backward_producer.cuh"

namespace plinth::kernels::cuda::attention {

// ---- a consumer warpgroup ----

// `group` is which 64 of the tile's keys it has, `half` which columns of dq it makes where both
// make dq.
template <class Tile_, class T, class Rule>
struct BackwardConsumer {
  using Tile = Tile_;
  using Keys = typename Tile::Keys;
  using Values = typename Tile::Values;
  using Queries = typename Tile::Queries;
  using Douts = typename Tile::Douts;
  using Sums = typename Tile::Sums;
  using Numbers = typename Tile::Numbers;
  using Work = typename Tile::Work;
  // Queries whose scores are made at once: what a description can ask for takes registers.
  static constexpr int kPart = Rule::kScaleOnly || Tile::kColumns != 128 ? Tile::kQueries : 16;
  using Scores = Registers<float, kPart / 2>;
  using Gradient = Registers<float, Tile::kColumns / 2>;
  using DqPart = Registers<float, Tile::kDqColumns / 2>;
  using Fragments = Registers<uint32_t, 4>[Tile::kQueries / 16];
  static constexpr int kThreads = 128 * Tile::kConsumers;
  // The warpgroup's rows of keys or of values as an operand: in registers where they fit, so that
  // only queries are read for scores.
  static constexpr bool kRowsInRegisters = Rule::kScaleOnly && Tile::kColumns == 64;
  struct RowFragments {
    Registers<uint32_t, 4> steps[Tile::kColumns / 16];
  };
  using OwnRows = std::conditional_t<kRowsInRegisters, RowFragments, Shared<T>>;

  const BackwardArguments<T, Rule>& a;
  const int32_t group, half;
  uint32_t work_parity = 0;  // of the present piece of work in the rings of one stage
  int32_t steps = 0;         // tiles of queries so far: places in the other rings follow

  PLINTH_DEVICE BackwardConsumer(const BackwardArguments<T, Rule>& arguments, int32_t number)
      : a(arguments), group(Tile::kWide ? 0 : number), half(number) {}

  PLINTH_DEVICE auto key_place() const {
    return typename Keys::Place{0, work_parity};
  }  // and of values
  // Of the present tile of queries, or of the one `ahead` of it.
  PLINTH_DEVICE auto query_place(int32_t ahead = 0) const {
    return Queries::Place::after(steps + ahead);
  }
  PLINTH_DEVICE auto dout_place(int32_t ahead = 0) const {
    return Douts::Place::after(steps + ahead);
  }

  PLINTH_DEVICE Shared<T> slope_tile() const {
    const auto stage = static_cast<uint32_t>(steps % Tile::kSlopeStages);
    return shared_array<T>(Tile::kSlopesAt + stage * Tile::kSlopeBytes, Tile::kSlopeBytes / 2);
  }
  // The factor that brings products to scores in units of log 2.
  PLINTH_DEVICE float factor() const {
    return static_cast<float>(a.desc.scale * std::numbers::log2e);
  }

  // result = the warpgroup's rows of a tile of keys times kPart rows of queries, transposed
  PLINTH_DEVICE void multiply_rows(Shared<T> keys, Shared<T> queries, Scores& result) const {
    const MatrixDescriptor rows =
        not_ahead(Tile::KeyRows::first(keys + group * 64 * Tile::kBoxColumns));
    const MatrixDescriptor columns = Tile::QueryRows::first(queries);
    wgmma_fence(result);
    PLINTH_UNROLL
    for (uint32_t step = 0; step < Tile::kColumns / 16; ++step)
      wgmma<T>(result, rows + Tile::KeyRows::offset(step), columns + Tile::QueryRows::offset(step),
               step > 0);
    wgmma_commit();
  }
  PLINTH_DEVICE void multiply_rows(RowFragments& rows, Shared<T> queries, Scores& result) const {
    const MatrixDescriptor columns = Tile::QueryRows::first(queries);
    wgmma_fence(result, rows.steps);
    PLINTH_UNROLL
    for (uint32_t step = 0; step < Tile::kColumns / 16; ++step)
      wgmma_from_registers<T, Major::K>(result, rows.steps[step],
                                        columns + Tile::QueryRows::offset(step), step > 0);
    wgmma_commit();
  }
  PLINTH_DEVICE void get_rows(Shared<T> tile, OwnRows& rows) const {
    if constexpr (kRowsInRegisters) {
      PLINTH_UNROLL
      for (int step = 0; step < Tile::kColumns / 16; ++step)
        Tile::OfKeys::load(tile, 64 * group, step, rows.steps[step]);
    } else {
      rows = tile;
    }
  }
  // gradient += fragments [keys, queries] times rows of queries
  PLINTH_DEVICE void multiply_queries(Fragments& fragments, Shared<T> queries, Gradient& gradient,
                                      bool accumulate) const {
    const MatrixDescriptor columns = Tile::QueryColumns::first(queries);
    wgmma_fence(gradient, fragments);
    PLINTH_UNROLL
    for (uint32_t step = 0; step < Tile::kQueries / 16; ++step)
      wgmma_from_registers<T, Major::MN>(gradient, fragments[step],
                                         columns + Tile::QueryColumns::offset(step),
                                         accumulate || step > 0);
    wgmma_commit();
  }
  // A piece of a tile of dq: slopes, transposed, times keys.
  PLINTH_DEVICE void multiply_slopes(DqPart& dq, int part = 0) const {
    constexpr int kBoxes = Tile::kDqColumns / 64;  // of keys
    const MatrixDescriptor rows = Tile::Slopes::first(slope_tile());
    const MatrixDescriptor columns = not_ahead(Tile::KeyColumns::first(
        Keys::tile(key_place()) +
        ((Tile::kDqByTurns ? 0 : half) * Tile::kDqParts + part) * kBoxes * Tile::kKeys * 64));
    wgmma_fence(dq);
    PLINTH_UNROLL
    for (uint32_t step = 0; step < Tile::kKeys / 16; ++step)
      wgmma<T, Major::MN, Major::MN>(dq, rows + Tile::Slopes::offset(step),
                                     columns + Tile::KeyColumns::offset(step), step > 0);
    wgmma_commit();
  }

  // Makes zeros of rows from `begin` on, which are another sequence's or padding: what they are
  // multiplied with is 0, but 0 times what lies there may be NaN.
  template <int kRows>
  PLINTH_DEVICE void clear_rows(Shared<T> tile, int32_t begin) const {
    PLINTH_NO_UNROLL
    for (auto i = static_cast<int32_t>(thread_index()) - 128; i < kRows * Tile::kColumns / 8;
         i += kThreads) {
      if (i / (Tile::kBoxColumns / 8) % kRows >= begin)
        store_shared_vector(tile + i * 8, Vector<T, 8>{});
    }
  }
  PLINTH_DEVICE void clear_keys(const Work& t) const {
    const int32_t begin = t.sight.visible - t.first;
    if (begin >= Tile::kKeys || t.k_begin + t.sight.visible >= static_cast<int32_t>(a.desc.kv_len))
      return;
    clear_rows<Tile::kKeys>(Keys::tile(key_place()), begin);
    clear_rows<Tile::kKeys>(Values::tile(key_place()), begin);
    fence_async_shared();
    named_sync(kBothConsumers, kThreads);
  }
  PLINTH_ONE_COPY PLINTH_DEVICE void clear_queries(const Work& t, int32_t tile,
                                                   int32_t ahead = 0) const {
    const int32_t begin = t.q_len - tile * Tile::kQueries;
    if (begin >= Tile::kQueries || t.q_begin + t.q_len >= static_cast<int32_t>(a.desc.q_len))
      return;
    Queries::wait(query_place(ahead));
    Douts::wait(dout_place(ahead));
    clear_rows<Tile::kQueries>(Queries::tile(query_place(ahead)), begin);
    clear_rows<Tile::kQueries>(Douts::tile(dout_place(ahead)), begin);
    fence_async_shared();
    named_sync(kBothConsumers, kThreads);
  }

  // Scores of pairs that are not seen become -inf.
  PLINTH_DEVICE void hide_pairs(const Work& t, int32_t tile, Scores& scores) const {
    const int32_t first_key = t.first + 64 * group;
    const int32_t first_query = tile * Tile::kQueries;
    const int32_t last_query = least(first_query + Tile::kQueries, t.q_len) - 1;
    if (first_key >= t.sight.begin(last_query) && first_key + 64 <= t.sight.end(first_query))
      return;
    const int32_t origin = first_query + own_column(0);
    PLINTH_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int32_t key = first_key + own_row(h);
      const int32_t begin = t.sight.first_query(key) - origin;
      const int32_t end = key < t.sight.visible ? t.sight.last_query(key + 1) - origin : -kFar;
      PLINTH_UNROLL
      for (int i = 2 * h; i < Tile::kQueries / 2; i += 4) {
        PLINTH_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int32_t column = i / 4 * 8 + e;
          if (column < begin || column >= end) scores[i + e] = kNever;
        }
      }
    }
  }

  // The two numbers of the thread's queries in columns first + i / 4 * 8 and on.
  PLINTH_DEVICE Vector<float, 2> statistic(int which, int32_t first, int i) const {
    return load_vector<Vector<float, 2>>(Tile::statistics(query_place()) + which * Tile::kQueries +
                                         first + own_column(0) + i / 4 * 8);
  }

  // Products become weights.
  PLINTH_DEVICE void weigh(Scores& scores) const {
    const float to_log2 = factor();
    PLINTH_UNROLL
    for (int i = 0; i < Tile::kQueries / 2; i += 4) {
      const Vector<float, 2> lse = statistic(0, 0, i);
      PLINTH_UNROLL
      for (int e = 0; e < 4; ++e) scores[i + e] = fast_exp2(scores[i + e] * to_log2 - lse[e % 2]);
    }
  }
  // Slopes of weights become slopes of scores.
  PLINTH_DEVICE void slope(Scores& weights, Scores& slope_of) const {
    PLINTH_UNROLL
    for (int i = 0; i < Tile::kQueries / 2; i += 4) {
      const Vector<float, 2> delta = statistic(1, 0, i);
      PLINTH_UNROLL
      for (int e = 0; e < 4; ++e)
        slope_of[i + e] = weights[i + e] * (slope_of[i + e] - delta[e % 2]);
    }
  }
  // Fragments of [keys, queries] to the warpgroup's rows of the tile of slopes, for products to
  // read.
  PLINTH_ONE_COPY PLINTH_DEVICE void store_slopes(Fragments& fragments) const {
    PLINTH_UNROLL
    for (int step = 0; step < Tile::kQueries / 16; ++step)
      Tile::OfKeys::store(slope_tile(), 64 * group, step, fragments[step]);
    fence_async_shared();
  }

  PLINTH_DEVICE void sync_own() const {
    named_sync(kOneConsumer + static_cast<uint32_t>(half), 128);
  }

  // A piece of a tile of dq to shared memory, from where it is added to the others', or, if it is
  // the last one, is written to dq.
  PLINTH_DEVICE void hand_over(DqPart& dq, int part = 0) const {
    const auto place = Sums::Place::after((steps * Tile::kDqParts + part) * Tile::kDqMakers +
                                          (Tile::kDqByTurns ? 0 : half));
    mbarrier_wait(Sums::empty(place), place.parity);
    const DqTask task = Tile::dq_task(place)[0];
    if (task == DqTask::Add) {
      put(Sums::tile(place), dq);
    } else {
      if (task == DqTask::AddRound) add_from(Sums::tile(place), dq);
      put_rounded(dq, Tile::dq_tile(place));
    }
    fence_async_shared();
    sync_own();
    if (thread_index() % 128 == 0) mbarrier_arrive(Sums::full(place));
  }
  // dq of the tile's queries in its own type, row after row, when all threads have read what lies
  // there.
  PLINTH_ONE_COPY PLINTH_DEVICE void put_rounded(DqPart& dq, Shared<T> tile) const {
    sync_own();
    const auto scale = static_cast<float>(a.desc.scale);
    const auto thread = static_cast<int32_t>(thread_index() % 128);
    const int32_t row = thread / 32 * 16 + thread % 16, column = thread % 32 / 16 * 8;
    PLINTH_UNROLL
    for (int step = 0; step < Tile::kDqColumns / 16; ++step) {
      PLINTH_UNROLL
      for (int i = step * 8; i < step * 8 + 8; ++i) dq[i] *= scale;
      Registers<uint32_t, 4> pairs;
      sums_to_fragment<T>(dq, step, pairs);
      const uint32_t four[4] = {pairs[0], pairs[1], pairs[2], pairs[3]};
      store_matrix(tile + (row * Tile::kDqColumns + 16 * step + column), four);
    }
  }

  PLINTH_DEVICE static void to_fragments(Scores& from, Fragments& fragments) {
    PLINTH_UNROLL
    for (int step = 0; step < Tile::kQueries / 16; ++step)
      sums_to_fragment<T>(from, step, fragments[step]);
  }

  // The tile's slopes are made. Whoever makes dq waits for those of the other warpgroup; who does
  // not goes on: whoever makes dq of the next tile has then made that of the tile before this one,
  // whose slopes' place the next ones take.
  template <bool makes_dq>
  PLINTH_DEVICE void meet() const {
    const auto barrier = kSlopesMade + static_cast<uint32_t>(steps % Tile::kSlopeStages);
    if constexpr (makes_dq) {
      named_sync(barrier, kThreads);
    } else {
      named_arrive(barrier, kThreads);
    }
  }
  // Calls f(whether the warpgroup makes dq of the present tile of queries, or half of it).
  template <class F>
  PLINTH_DEVICE void by_turns(F f) {
    if (!Tile::kDqByTurns || steps % 2 == group) {
      f(std::true_type{});
    } else {
      f(std::false_type{});
    }
  }

  // Rows of a gradient, times `scale`, to the place of the keys or values, and from there on.
  PLINTH_DEVICE void store_gradient(Gradient& gradient, float scale, bool any,
                                    Shared<T> tile) const {
    PLINTH_UNROLL
    for (int i = 0; i < Tile::kColumns / 2; ++i) gradient[i] = any ? gradient[i] * scale : 0.0f;
    PLINTH_UNROLL
    for (int step = 0; step < Tile::kColumns / 16; ++step) {
      Registers<uint32_t, 4> pairs;
      sums_to_fragment<T>(gradient, step, pairs);
      Tile::OfKeys::store(tile, 64 * group, step, pairs);
    }
  }

  // The warpgroup's rows by TMA, where no row beyond them is another sequence's; else one by one.
  // Whether its threads read shared memory for that.
  PLINTH_DEVICE bool write_rows(const TensorMap& map, Shared<T> tile, Global<T> to,
                                const AttentionDesc::Strides& strides, const Work& t) const {
    const int32_t rows = least(t.rows - 64 * group, 64), row = t.k_begin + t.first + 64 * group;
    if (rows <= 0) return false;
    if (rows == 64 || !a.lengths.cu_seqlens_q) {
      if (thread_index() % 128 != 0) return false;
      PLINTH_UNROLL
      for (int column = 0; column < Tile::kColumns; column += 64)
        tma_store(map, {column, row, t.kv_head, t.batch},
                  tile + (column * Tile::kKeys + group * 64 * 64));
      return false;
    }
    copy_rows<typename Tile::OfKeys>(tile, 64 * group, rows,
                                     static_cast<int32_t>(a.desc.head_dim / 8),
                                     row_of(to, strides, t.batch, t.kv_head, row), strides.seq);
    return true;
  }

  // Whether gradients hold sums, or nothing at all.
  PLINTH_DEVICE static bool has_gradient(const Work& t) {
    return Rule::kMasks || t.tile_end > t.tile;
  }

  PLINTH_DEVICE void finish(const TensorMap& dk_map, const TensorMap& dv_map, const Work& t,
                            Gradient& dk, Gradient& dv) {
    const bool any = has_gradient(t);
    named_sync(kBothConsumers, kThreads);  // nobody reads keys or queries any more
    free_keys(any);
    store_gradient(dk, static_cast<float>(a.desc.scale), any, Tile::dk_tile());
    store_gradient(dv, 1, any, Tile::dv_tile());
    fence_async_shared();
    sync_own();
    write_rows(dk_map, Tile::dk_tile(), a.dk, a.desc.dk, t);
    if (write_rows(dv_map, Tile::dv_tile(), a.dv, a.desc.dv, t)) sync_own();
    end_work();
  }
  // Nobody reads keys any more. Where work is not taken early, the number is freed with them.
  PLINTH_DEVICE void free_keys(bool any) const {
    if constexpr (kTakesWorkEarly<Tile, Rule>) {
      Keys::release(key_place());
      if (any) return;
    }
    free_number();
  }
  // Ends a piece of work, when its gradients have left shared memory.
  PLINTH_DEVICE void end_work() {
    if (thread_index() % 128 == 0) {
      bulk_commit();
      bulk_wait_read<0>();
      mbarrier_arrive(Tile::gradients_gone());
    }
    work_parity ^= 1;
  }

  // Lets the next piece of work be taken, when all threads have read this one's number.
  PLINTH_DEVICE void free_number() const {
    Numbers::release(typename Numbers::Place{0, work_parity});
  }

  // Calls f(work) for each piece of work of the block.
  template <class F>
  PLINTH_DEVICE void each_work(F f) {
    for (;;) {
      const auto place = typename Numbers::Place{0, work_parity};
      Numbers::wait(place);
      if (Numbers::tile(place)[0] >= a.schedule.count) return;
      const Work t = work();
      Keys::wait(key_place());
      Values::wait(key_place());
      clear_keys(t);
      f(t);
    }
  }
  // The present piece of work, read again: what a loop does not need would take registers there.
  PLINTH_DEVICE Work work() const { return Tile::work(work_parity); }

  // Calls f(work, head, tile, whether a functor is asked about its pairs, whether it is not the
  // first) for each tile of queries of each head. Where a functor leaves tiles out, nobody counts
  // which one is the first: gradients are cleared before.
  template <class F>
  PLINTH_DEVICE void each_tile(F f) const {
    each_turn<Tile>(
        a, [&] { return work(); },
        [&](int32_t head, int32_t tile, const TileTurn& turn) {
          const Work t = work();
          const bool first = head == t.kv_head * a.group && tile == t.start;
          f(t, head, tile, turn.asks, Rule::kMasks || !first);
        });
  }

  // Calls f(work, rows of keys and of values, dk, dv) for each piece of work, and writes what it
  // has made of the gradients.
  template <class F>
  PLINTH_DEVICE void each_piece(const TensorMap& dk_map, const TensorMap& dv_map, F f) {
    each_work([&](const Work& t) {
      Gradient dk, dv;
      OwnRows keys, values;
      get_rows(Keys::tile(key_place()), keys);
      get_rows(Values::tile(key_place()), values);
      f(t, keys, values, dk, dv);
      finish(dk_map, dv_map, work(), dk, dv);
    });
  }
};

// Maps of q and dout in boxes of kQueries rows, of k and v in boxes of kKeys, of dk and dv of 64.
template <class Consumer, class T, class Rule>
PLINTH_KERNEL_BOUNDS((Consumer::Tile::kThreads), 1)
PLINTH_KERNEL
    void hopper_backward_kernel(const PLINTH_GRID_CONSTANT TensorMap q_map,
                                const PLINTH_GRID_CONSTANT TensorMap k_map,
                                const PLINTH_GRID_CONSTANT TensorMap v_map,
                                const PLINTH_GRID_CONSTANT TensorMap dout_map,
                                const PLINTH_GRID_CONSTANT TensorMap dq_map,
                                const PLINTH_GRID_CONSTANT TensorMap dk_map,
                                const PLINTH_GRID_CONSTANT TensorMap dv_map,
                                const PLINTH_GRID_CONSTANT BackwardArguments<T, Rule> arguments) {
  if constexpr (kHopper) {
    using Tile = typename Consumer::Tile;
    if (thread_index() == 0) {
      Tile::Keys::init(Tile::kConsumers);
      Tile::Values::init(Tile::kConsumers);
      Tile::Queries::init(Tile::kConsumers);
      Tile::Douts::init(Tile::kConsumers);
      Tile::Sums::init(1);
      Tile::Numbers::init(Tile::kConsumers + Tile::kSumStages);
      mbarrier_init(Tile::gradients_gone(), Tile::kConsumers);
      mbarrier_fence_init();
      if constexpr (!Rule::kScaleOnly) Tile::Random::read(arguments.dropout);
    }
    block_sync();
    // Alike in all lanes, which the compiler does not see by itself.
    const auto warpgroup = static_cast<int32_t>(shuffle(thread_index() / 128, 0));
    if (warpgroup == 0) {
      registers_decrease<Tile::kProducerRegisters>();
      const auto warp = static_cast<int32_t>(warp_index());
      if (warp > Tile::kSumStages || !elect_one()) return;
      if (warp == 0) {
        fetch_backward<Tile>(q_map, k_map, v_map, dout_map, arguments);
      } else {
        DqAdder<Tile, T, Rule>{arguments, dq_map, {warp - 1, 0}}.run();
      }
    } else {
      registers_increase<Tile::kConsumerRegisters>();
      Consumer(arguments, warpgroup - 1).run(dk_map, dv_map);
    }
  }
}

}  // namespace plinth::kernels::cuda::attention
