#pragma once

// The backward kernels of tensor_core.h, and their launches. In both a block keeps the rows that it
// owns and walks over tiles of the other side's, the copy of one under the products of the one
// before where shared memory has room for two.

#include "kernels/attention/tensor_core/launch.h"
#include "kernels/attention/tensor_core/scores.cuh"

namespace plinth::kernels::cuda::attention::tensor_core {

template <class T>
struct BackwardInputs {
  Global<const T> dout, q, k, v;
  Global<const float> lse, delta;
};

// ---- dq: a block owns queries ----

template <int kColumns, bool kScaleOnly>
struct QueryShape {
  static constexpr int kWarps = 4, kThreads = 32 * kWarps;
  static constexpr int kM = kScaleOnly && kColumns <= 96 ? 2 : 1;
  static constexpr int kOwn = kWarps * 16 * kM;
  static constexpr int kKeys = kColumns <= 128 || kScaleOnly ? 32 : 16;
  static constexpr bool kKept = kColumns <= 128 && kM == 1;
  static constexpr int kStages = kColumns <= 128 || kKeys == 16 ? 2 : 1;
  static constexpr size_t kTileBytes = size_t{2} * kKeys * kColumns;
  static constexpr size_t kOwnBytes = size_t{2} * kOwn * kColumns;
  static constexpr size_t kSharedBytes = 2 * kOwnBytes + 2 * kStages * kTileBytes;
};

// What differentiate() wants to know of queries that are rows.
template <int kM>
struct RowStats {
  float lses[kM][2], deltas[kM][2];

  PLINTH_DEVICE const RowStats& of_column(int) const { return *this; }
  PLINTH_DEVICE float lse(int m, int e) const { return lses[m][e / 2]; }
  PLINTH_DEVICE float delta(int m, int e) const { return deltas[m][e / 2]; }

  // Of the warp's queries, whose first is `first` in the arrays; `rows` are there.
  PLINTH_DEVICE RowStats(Global<const float> lse, Global<const float> delta, int64_t first,
                         int rows) {
    PLINTH_UNROLL
    for (int m = 0; m < kM; ++m) {
      PLINTH_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int row = 16 * m + 8 * h + static_cast<int>(lane_index() / 4);
        lses[m][h] = std::numeric_limits<float>::infinity();
        deltas[m][h] = 0;
        if (row >= rows) continue;
        lses[m][h] = lse_of_weights<float>(lse[first + row]);
        deltas[m][h] = delta[first + row];
      }
    }
  }
};

template <class T, int kColumns, template <class> class Scores, Mistake mistake = Mistake::None>
PLINTH_KERNEL_BOUNDS(128, 2)
PLINTH_KERNEL
    void dq_kernel(AttentionDesc d, Lengths lengths, Scores<T> described, Dropout<float> dropout,
                   float unit, BackwardInputs<T> in, Global<T> dq) {
  using Shape = QueryShape<kColumns, Scores<T>::kScaleOnly>;
  using Rows = Source<T, kColumns, Shape::kThreads>;
  constexpr int kM = Shape::kM, kOwn = Shape::kOwn, kKeys = Shape::kKeys;
  const Tile<T, kColumns> q_tile(0, kOwn), dout_tile(Shape::kOwnBytes, kOwn);
  const Problem p = problem_of(d, lengths, tile_number(d), kOwn, false);
  if (p.first >= p.q_len) return;  // the whole block
  if constexpr (!Scores<T>::kScaleOnly) dropout.read_place();
  const int64_t head = block_index().y, kv_head = head / (d.heads / d.kv_heads);
  const int rows = static_cast<int>(least(int64_t{kOwn}, p.q_len - p.first));
  const uint32_t own = warp_index() * 16 * kM;  // the warp's first row
  const int query = static_cast<int>(p.first) + static_cast<int>(own);
  Pairs<T, Scores, false> pairs(d, p, dropout, described, unit, head);

  const int end = static_cast<int>(p.keys_of(d, p.first + rows - 1).end);
  // The first tile from key `from` on of which something is seen.
  const int first_query = static_cast<int>(p.first);
  const auto next_tile = [&](int from) {
    if constexpr (Scores<T>::kMasks)
      while (from < end && !pairs.enter(described, first_query, rows, from, kKeys)) from += kKeys;
    return from;
  };
  int key = next_tile(static_cast<int>(p.keys_of(d, p.first).begin) / kKeys * kKeys);
  Rows k_rows(row_of(in.k, d.k, p.batch, kv_head, p.k_begin + key), d.k.seq, d.head_dim);
  Rows v_rows(row_of(in.v, d.v, p.batch, kv_head, p.k_begin + key), d.v.seq, d.head_dim);
  const auto tile = [](int stage, int second) {
    return Tile<T, kColumns>(2 * Shape::kOwnBytes + (2 * stage + second) * Shape::kTileBytes,
                             kKeys);
  };
  // The tiles from key `from`, one after another.
  const auto copy = [&](int stage, int from) {
    tile(stage, 0).template copy<kKeys>(k_rows, pairs.mask.kv_visible - from);
    tile(stage, 1).template copy<kKeys>(v_rows, pairs.mask.kv_visible - from);
    if (mistake != Mistake::NoCommit) copy_async_commit();
  };
  if (key < end) {
    const int64_t first = p.q_begin + p.first;
    Rows q_rows(row_of(in.q, d.q, p.batch, head, first), d.q.seq, d.head_dim);
    Rows dout_rows(row_of(in.dout, d.dout, p.batch, head, first), d.dout.seq, d.head_dim);
    q_tile.template copy<kOwn>(q_rows, rows);
    dout_tile.template copy<kOwn>(dout_rows, rows);
    copy(0, key);
  }
  // Few registers, for what comes after the loop.
  const int batch = static_cast<int>(p.batch), first_token = static_cast<int>(p.q_begin) + query;
  const RowStats<kM> stats(in.lse, in.delta, (batch * d.heads + head) * d.q_len + first_token,
                           pairs.mask.q_len - query);
  OwnRows<T, kColumns, kM, Shape::kKept> queries(q_tile, own), douts(dout_tile, own);
  Sums<kM, kColumns / 8> sums;
  for (int number = 0, next; key < end; key = next, ++number) {
    const int stage = number % Shape::kStages;
    next = next_tile(key + kKeys);
    const bool more = next < end;
    if constexpr (Scores<T>::kMasks) {
      k_rows.skip(next - key - kKeys);
      v_rows.skip(next - key - kKeys);
      pairs.enter(described, first_query, rows, key, kKeys);
    }
    if (mistake == Mistake::CopiesTooEarly && more) copy((number + 1) % Shape::kStages, next);
    // The tile is there, and with two stages the tile before used up.
    arrive<mistake != Mistake::NoWait, mistake != Mistake::NoBarrier>();
    if (mistake != Mistake::CopiesTooEarly && Shape::kStages == 2 && more) copy(1 - stage, next);
    if (number == 0) {
      queries.keep();
      douts.keep();
    }
    Sums<kM, kKeys / 8> scores, slopes;
    if (pairs.sees_any(scores, query, key)) {
      queries.multiply(tile(stage, 0), scores);
      douts.multiply(tile(stage, 1), slopes);
      pairs.differentiate(scores, slopes, query, key, stats);
      add_rows(slopes, tile(stage, 0), sums);
    }
    if constexpr (Shape::kStages == 1) {
      if constexpr (mistake != Mistake::NoSecondBarrier) block_sync();
      if (more) copy(0, next);
    }
  }
  sums.scale(static_cast<float>(d.scale));
  warp_sync();
  sums.write(q_tile, own);
  if constexpr (mistake != Mistake::NoWarpBarrier) warp_sync();
  store_rows<16 * kM>(q_tile, own, row_of(dq, d.dq, batch, head, first_token), d.dq.seq,
                      pairs.mask.q_len - query, static_cast<int>(d.head_dim));
}

// ---- dk and dv: a block owns keys ----

// The sums of dk and dv leave registers for a warp to own 16 keys.
template <int kColumns, bool kScaleOnly>
struct KeyShape {
  static constexpr int kWarps = 4, kThreads = 32 * kWarps;
  static constexpr int kM = 1;
  static constexpr int kOwn = kWarps * 16 * kM;
  static constexpr int kQueries = kColumns == 64 && kScaleOnly    ? 64
                                  : kColumns <= 128 || kScaleOnly ? 32
                                                                  : 16;
  static constexpr bool kKept = kColumns <= (kScaleOnly ? 96 : 64);
  static constexpr int kStages = kColumns <= 128 || kQueries == 16 ? 2 : 1;
  static constexpr bool kApart = kColumns == 256;  // dk and dv by launches of their own
  static constexpr size_t kTileBytes = size_t{2} * kQueries * kColumns;
  static constexpr size_t kOwnBytes = size_t{2} * kOwn * kColumns;
  static constexpr size_t kStatsAt = 2 * kOwnBytes + 2 * kStages * kTileBytes;
  static constexpr size_t kSharedBytes = kStatsAt + kStages * 2 * kQueries * sizeof(float);
};

// The same of queries that are columns, in shared memory.
struct ColumnStats {
  struct Pair {
    Vector<float, 2> lses, deltas;
    PLINTH_DEVICE float lse(int, int e) const { return lse_of_weights<float>(lses[e % 2]); }
    PLINTH_DEVICE float delta(int, int e) const { return deltas[e % 2]; }
  };
  Shared<float> lses, deltas;

  PLINTH_DEVICE Pair of_column(int n) const {
    const uint32_t column = 8 * n + lane_index() % 4 * 2;
    return {load_vector<Vector<float, 2>>(lses + column),
            load_vector<Vector<float, 2>>(deltas + column)};
  }
};

// Whether a functor shows a head some pair of the block's keys and a tile of queries.
template <class T, class F>
PLINTH_DEVICE bool shows_tile(const Custom<T, F>& custom, const Problem& p, int head, int query,
                              int queries, int keys) {
  return custom.map.sight(p.sample, head, {query, least(int64_t{query} + queries, p.q_len)},
                          {p.first, least(p.first + keys, p.kv_len)}) != BlockSight::Empty;
}

template <class T, int kColumns, template <class> class Scores, bool kOfK, bool kOfV,
          Mistake mistake = Mistake::None>
PLINTH_KERNEL_BOUNDS(128, 2)
PLINTH_KERNEL
    void dk_dv_kernel(AttentionDesc d, Lengths lengths, Scores<T> described, Dropout<float> dropout,
                      float unit, BackwardInputs<T> in, Global<T> dk, Global<T> dv) {
  using Shape = KeyShape<kColumns, Scores<T>::kScaleOnly>;
  using Rows = Source<T, kColumns, Shape::kThreads>;
  constexpr int kM = Shape::kM, kOwn = Shape::kOwn, kQueries = Shape::kQueries;
  const Tile<T, kColumns> k_tile(0, kOwn), v_tile(Shape::kOwnBytes, kOwn);
  const Problem p = problem_of(d, lengths, block_index().x, kOwn, true);
  if (p.first >= p.kv_len) return;  // the whole block
  if constexpr (!Scores<T>::kScaleOnly) dropout.read_place();
  const int kv_head = static_cast<int>(block_index().y);
  const int first_head = kv_head * static_cast<int>(d.heads / d.kv_heads);
  const int last_head = first_head + static_cast<int>(d.heads / d.kv_heads) - 1;
  const uint32_t own = warp_index() * 16 * kM;  // the warp's first row
  const int key = static_cast<int>(p.first) + static_cast<int>(own);
  Pairs<T, Scores, true> pairs(d, p, dropout, described, unit, first_head);

  const Range seen = p.queries_of(d, p.first, least(p.first + kOwn, p.kv_visible) - 1);
  const int begin = static_cast<int>(seen.begin) / kQueries * kQueries;
  const int end = static_cast<int>(seen.end);
  // Few registers, for the loop and what comes after it.
  const int batch = static_cast<int>(p.batch), q_begin = static_cast<int>(p.q_begin);
  const int first_token = static_cast<int>(p.k_begin) + key;
  const auto tile = [](int stage, int second) {
    return Tile<T, kColumns>(2 * Shape::kOwnBytes + (2 * stage + second) * Shape::kTileBytes,
                             kQueries);
  };
  const auto stats = [](int stage, int second) {
    return shared_array<float>(Shape::kStatsAt + (2 * stage + second) * kQueries * sizeof(float),
                               kQueries);
  };
  const auto copy = [&](int stage, int head, int query) {
    const int rows = pairs.mask.q_len - query, first = q_begin + query;
    Rows q_rows(row_of(in.q, d.q, batch, head, first), d.q.seq, d.head_dim);
    Rows dout_rows(row_of(in.dout, d.dout, batch, head, first), d.dout.seq, d.head_dim);
    tile(stage, 0).template copy<kQueries>(q_rows, rows);
    tile(stage, 1).template copy<kQueries>(dout_rows, rows);
    const int row = static_cast<int>(thread_index()) % kQueries;
    if (thread_index() < 2 * kQueries) {
      const int second = thread_index() < kQueries ? 0 : 1;
      const int64_t at = (batch * d.heads + head) * d.q_len + first + row;
      copy_async<4>(stats(stage, second) + row, (second == 0 ? in.lse : in.delta) + at, row < rows);
    }
    if (mistake != Mistake::NoCommit) copy_async_commit();
  };
  // The tiles of queries of the heads that share the keys, head by head: from this place on to the
  // first of which something is seen.
  const auto find_tile = [&](int& of_head, int& from) {
    if constexpr (Scores<T>::kMasks) {
      while (of_head <= last_head && !shows_tile(described, p, of_head, from, kQueries, kOwn)) {
        from += kQueries;
        if (from >= end) ++of_head, from = begin;
      }
    }
  };
  int head = begin < end ? first_head : last_head + 1, query = begin;
  find_tile(head, query);
  if (head <= last_head) {
    const int rows = pairs.mask.kv_visible - static_cast<int>(p.first);
    const int64_t first = p.k_begin + p.first;
    Rows k_rows(row_of(in.k, d.k, batch, kv_head, first), d.k.seq, d.head_dim);
    Rows v_rows(row_of(in.v, d.v, batch, kv_head, first), d.v.seq, d.head_dim);
    k_tile.template copy<kOwn>(k_rows, rows);
    v_tile.template copy<kOwn>(v_rows, rows);
    copy(0, head, query);
  }
  OwnRows<T, kColumns, kM, Shape::kKept> keys(k_tile, own), values(v_tile, own);
  Sums<kM, kColumns / 8> dk_sums, dv_sums;
  bool is_first = true;
  for (int stage = 0; head <= last_head; stage = (stage + 1) % Shape::kStages) {
    const bool same_head = query + kQueries < end;
    int next_head = same_head ? head : head + 1, next = same_head ? query + kQueries : begin;
    find_tile(next_head, next);
    const bool more = next_head <= last_head;
    if (mistake == Mistake::CopiesTooEarly && more)
      copy((stage + 1) % Shape::kStages, next_head, next);
    // The tile is there, and with two stages the tile before used up.
    arrive<mistake != Mistake::NoWait, mistake != Mistake::NoBarrier>();
    if (mistake != Mistake::CopiesTooEarly && Shape::kStages == 2 && more)
      copy(1 - stage, next_head, next);
    if (is_first) {
      keys.keep();
      if (kOfK) values.keep();
      is_first = false;
    }
    if constexpr (Scores<T>::kMasks) {
      if (head != pairs.head) pairs.set_head(described, batch, head);
      pairs.enter(described, query, kQueries, static_cast<int>(p.first), kOwn);
    } else {
      if (query == begin) pairs.set_head(described, batch, head);
    }
    Sums<kM, kQueries / 8> weights, slopes;
    if (pairs.sees_any(weights, key, query)) {
      keys.multiply(tile(stage, 0), weights);
      if (kOfK) values.multiply(tile(stage, 1), slopes);
      pairs.differentiate(weights, slopes, key, query,
                          ColumnStats{stats(stage, 0), stats(stage, 1)});
      if (kOfV) add_rows(weights, tile(stage, 1), dv_sums);
      if (kOfK) add_rows(slopes, tile(stage, 0), dk_sums);
    }
    if constexpr (Shape::kStages == 1) {
      if constexpr (mistake != Mistake::NoSecondBarrier) block_sync();
      if (more) copy(0, next_head, next);
    }
    head = next_head;
    query = next;
  }
  const int rows_left = pairs.kv_len - key, head_dim = static_cast<int>(d.head_dim);
  if (kOfV) {
    warp_sync();
    dv_sums.write(k_tile, own);
    if constexpr (mistake != Mistake::NoWarpBarrier) warp_sync();
    store_rows<16 * kM>(k_tile, own, row_of(dv, d.dv, batch, kv_head, first_token), d.dv.seq,
                        rows_left, head_dim);
  }
  if (kOfK) {
    dk_sums.scale(static_cast<float>(d.scale));
    warp_sync();
    dk_sums.write(k_tile, own);
    if constexpr (mistake != Mistake::NoWarpBarrier) warp_sync();
    store_rows<16 * kM>(k_tile, own, row_of(dk, d.dk, batch, kv_head, first_token), d.dk.seq,
                        rows_left, head_dim);
  }
}

template <class T, int kColumns, template <class> class Scores>
void launch_dq(Stream stream, const AttentionDesc& d, const BackwardInputs<T>& inputs, T* dq) {
  using Shape = QueryShape<kColumns, Scores<T>::kScaleOnly>;
  const int64_t tiles = tiles_of(d, d.q_len, Shape::kOwn);
  if (tiles == 0 || d.heads == 0) return;
  launch("attention_dq_mma", dq_kernel<T, kColumns, Scores>,
         {{static_cast<uint32_t>(tiles), static_cast<uint32_t>(d.heads)},
          {Shape::kThreads},
          Shape::kSharedBytes},
         stream, d, Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k}, Scores<T>(d),
         Dropout<float>(d), unit_of<Scores<T>>(d), inputs, dq);
}

template <class T, int kColumns, template <class> class Scores>
void launch_dk_dv(Stream stream, const AttentionDesc& d, const BackwardInputs<T>& inputs, T* dk,
                  T* dv) {
  using Shape = KeyShape<kColumns, Scores<T>::kScaleOnly>;
  const int64_t tiles = tiles_of(d, d.kv_len, Shape::kOwn);
  if (tiles == 0 || d.kv_heads == 0) return;
  const LaunchShape shape{{static_cast<uint32_t>(tiles), static_cast<uint32_t>(d.kv_heads)},
                          {Shape::kThreads},
                          Shape::kSharedBytes};
  const auto start = [&](const char* name, auto kernel) {
    launch(name, kernel, shape, stream, d, Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k},
           Scores<T>(d), Dropout<float>(d), unit_of<Scores<T>>(d), inputs, dk, dv);
  };
  if constexpr (Shape::kApart) {
    start("attention_dv_mma", dk_dv_kernel<T, kColumns, Scores, false, true>);
    start("attention_dk_mma", dk_dv_kernel<T, kColumns, Scores, true, false>);
  } else {
    start("attention_dk_dv_mma", dk_dv_kernel<T, kColumns, Scores, true, true>);
  }
}

}  // namespace plinth::kernels::cuda::attention::tensor_core
