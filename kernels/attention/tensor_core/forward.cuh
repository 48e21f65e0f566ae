#pragma once

// The forward kernel of tensor_core.h, and its launch.

#include "kernels/attention/tensor_core/launch.h"
#include "kernels/attention/tensor_core/scores.cuh"

namespace plinth::kernels::cuda::attention::tensor_core {

// A warp owns 32 queries, so that a matrix of keys or values that it reads serves two products. It
// owns 16 where registers do not suffice: at 256 columns, and where the description asks for more
// than a scale. Queries stay in registers where there is room.
template <int kColumns, bool kScaleOnly>
struct ForwardShape {
  static constexpr int kWarps = 4, kThreads = 32 * kWarps;
  static constexpr int kM = kScaleOnly && kColumns <= 128 ? 2 : 1;
  static constexpr int kQueries = kWarps * 16 * kM;
  static constexpr int kKeys = kColumns <= 96 || (!kScaleOnly && kColumns == 128) ? 64 : 32;
  static constexpr bool kKept = kColumns == 64 || (!kScaleOnly && kColumns <= 128);
  static constexpr size_t kKeyBytes = size_t{2} * kQueries * kColumns;  // where the keys begin
  static constexpr size_t kValueBytes = kKeyBytes + size_t{2} * kKeys * kColumns;
  static constexpr size_t kSharedBytes = kValueBytes + size_t{2} * kKeys * kColumns;
};

// The online softmax of a warp's rows; each lane sums its own columns.
template <int kM>
struct Softmax {
  float top[kM][2], total[kM][2] = {};

  PLINTH_DEVICE Softmax() {
    PLINTH_UNROLL
    for (int m = 0; m < kM; ++m) top[m][0] = top[m][1] = -std::numeric_limits<float>::infinity();
  }

  // Makes weights of the scores of half h of the m-th 16 rows, which are in units of `unit` log 2;
  // returns by how much earlier sums shrink.
  template <int kN>
  PLINTH_DEVICE float soften(Sums<kM, kN>& scores, int m, int h, float unit) {
    float most = top[m][h];
    PLINTH_UNROLL
    for (int n = 0; n < kN; ++n) {
      most = larger(most, scores.values[m][n][2 * h]);
      most = larger(most, scores.values[m][n][2 * h + 1]);
    }
    most = larger(most, shuffle_xor(most, 1));
    most = larger(most, shuffle_xor(most, 2));
    // A row that has seen no key yet keeps 2^(-inf - 0) = 0.
    const float origin = most == -std::numeric_limits<float>::infinity() ? 0.0f : most * unit;
    const float decay = fast_exp2(top[m][h] * unit - origin);
    top[m][h] = most;
    float sum = total[m][h] * decay;
    PLINTH_UNROLL
    for (int n = 0; n < kN; ++n) {
      PLINTH_UNROLL
      for (int e = 2 * h; e < 2 * h + 2; ++e) {
        scores.values[m][n][e] = fast_exp2(scores.values[m][n][e] * unit - origin);
        sum += scores.values[m][n][e];
      }
    }
    total[m][h] = sum;
    return decay;
  }

  // Of all rows; shrinks their sums of values too.
  template <int kN, int kValues>
  PLINTH_DEVICE void soften(Sums<kM, kN>& scores, float unit, Sums<kM, kValues>& sums) {
    float decay[kM][2];
    bool shrinks = false;
    PLINTH_UNROLL
    for (int m = 0; m < kM; ++m) {
      PLINTH_UNROLL
      for (int h = 0; h < 2; ++h) {
        decay[m][h] = soften(scores, m, h, unit);
        shrinks = shrinks || decay[m][h] != 1;
      }
    }
    if (!any(shrinks)) return;
    PLINTH_UNROLL
    for (int m = 0; m < kM; ++m) {
      sums.scale(m, 0, decay[m][0]);
      sums.scale(m, 1, decay[m][1]);
    }
  }

  // Adds up the lanes' sums of a row and its sink, in log 2; returns by how much its sums of values
  // shrink.
  PLINTH_DEVICE float finish(int m, int h, bool has_sink, float sink) {
    float& sum = total[m][h];
    sum += shuffle_xor(sum, 1);
    sum += shuffle_xor(sum, 2);
    if (!has_sink) return 1;
    const float most = larger(top[m][h], sink);
    // Neither a key nor a sink: 2^(-inf - 0) = 0.
    const float origin = most == -std::numeric_limits<float>::infinity() ? 0.0f : most;
    const float decay = fast_exp2(top[m][h] - origin);
    sum = sum * decay + fast_exp2(sink - origin);
    top[m][h] = most;
    return decay;
  }
};

template <class T, int kColumns, template <class> class Scores, Mistake mistake = Mistake::None>
PLINTH_KERNEL_BOUNDS(128, 2)
PLINTH_KERNEL
    void forward_kernel(AttentionDesc d, Lengths lengths, Scores<T> described,
                        Dropout<float> dropout, float unit, Global<const T> q, Global<const T> k,
                        Global<const T> v, Global<T> out, Global<float> lse) {
  using Shape = ForwardShape<kColumns, Scores<T>::kScaleOnly>;
  constexpr int kM = Shape::kM, kQueries = Shape::kQueries, kKeys = Shape::kKeys;
  const Tile<T, kColumns> q_tile(0, kQueries), k_tile(Shape::kKeyBytes, kKeys),
      v_tile(Shape::kValueBytes, kKeys);
  const Problem p = problem_of(d, lengths, tile_number(d), kQueries, false);
  if (p.first >= p.q_len) return;  // the whole block
  if constexpr (!Scores<T>::kScaleOnly) dropout.read_place();
  const int64_t head = block_index().y, kv_head = head / (d.heads / d.kv_heads);
  const int rows = static_cast<int>(least(int64_t{kQueries}, p.q_len - p.first));
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
  using Rows = Source<T, kColumns, Shape::kThreads>;
  Rows k_rows(row_of(k, d.k, p.batch, kv_head, p.k_begin + key), d.k.seq, d.head_dim);
  Rows v_rows(row_of(v, d.v, p.batch, kv_head, p.k_begin + key), d.v.seq, d.head_dim);
  // The tiles from key `from`, one after another.
  const auto copy_keys = [&](int from) {
    k_tile.template copy<kKeys>(k_rows, pairs.mask.kv_visible - from);
    if (mistake != Mistake::NoCommit) copy_async_commit();
  };
  const auto copy_values = [&](int from) {
    v_tile.template copy<kKeys>(v_rows, pairs.mask.kv_visible - from);
    if (mistake != Mistake::NoCommit) copy_async_commit();
  };
  if (key < end) {
    Rows q_rows(row_of(q, d.q, p.batch, head, p.q_begin + p.first), d.q.seq, d.head_dim);
    q_tile.template copy<kQueries>(q_rows, rows);
    copy_keys(key);
  }
  // Few registers, for what comes after the loop.
  const int batch = static_cast<int>(p.batch), first_token = static_cast<int>(p.q_begin) + query;
  OwnRows<T, kColumns, kM, Shape::kKept> queries(q_tile, own);
  Softmax<kM> softmax;
  Sums<kM, kColumns / 8> sums;
  for (bool first = true; key < end; first = false) {
    if (mistake == Mistake::CopiesTooEarly) copy_values(key);
    // The keys are there, and the values before used up.
    arrive<mistake != Mistake::NoWait, mistake != Mistake::NoBarrier>();
    if (mistake != Mistake::CopiesTooEarly) copy_values(key);
    if (first) queries.keep();
    Sums<kM, kKeys / 8> scores;
    const int tile = key;
    const bool seen = pairs.sees_any(scores, query, tile);  // by some row of the warp
    if (seen) queries.multiply(k_tile, scores);
    // The values are there, and the keys used up.
    arrive<mistake != Mistake::NoSecondWait, mistake != Mistake::NoSecondBarrier>();
    key = next_tile(tile + kKeys);
    if constexpr (Scores<T>::kMasks) {
      k_rows.skip(key - tile - kKeys);
      v_rows.skip(key - tile - kKeys);
    }
    if (key < end) copy_keys(key);
    if (!seen) continue;
    if constexpr (Scores<T>::kMasks) pairs.enter(described, first_query, rows, tile, kKeys);
    pairs.score_products(scores, query, tile);
    softmax.soften(scores, unit, sums);
    pairs.drop(scores, query, tile);
    add_rows(scores, v_tile, sums);
  }

  const int rows_left = pairs.mask.q_len - query;
  const int64_t first_row = (batch * d.heads + head) * d.q_len + first_token;
  const float sink = described.has_sinks() ? described.sink(head) : 0;
  PLINTH_UNROLL
  for (int m = 0; m < kM; ++m) {
    PLINTH_UNROLL
    for (int h = 0; h < 2; ++h) {
      const float decay = softmax.finish(m, h, described.has_sinks(), sink);
      const float total = softmax.total[m][h];
      sums.scale(m, h, total == 0 ? 0.0f : decay * dropout.keep * fast_reciprocal(total));
      const int row = pairs.row_of_element(0, m, 2 * h);
      if (row < rows_left && lane_index() % 4 == 0) {
        lse[first_row + row] =
            (softmax.top[m][h] * unit + std::log2(total)) * std::numbers::ln2_v<float>;
      }
    }
  }
  sums.write(q_tile, own);
  if constexpr (mistake != Mistake::NoWarpBarrier) warp_sync();
  store_rows<16 * kM>(q_tile, own, row_of(out, d.out, batch, head, first_token), d.out.seq,
                      rows_left, static_cast<int>(d.head_dim));
}

template <class T, int kColumns, template <class> class Scores>
void launch_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                    T* out, float* lse) {
  using Shape = ForwardShape<kColumns, Scores<T>::kScaleOnly>;
  const int64_t tiles = tiles_of(d, d.q_len, Shape::kQueries);
  if (tiles == 0 || d.heads == 0) return;
  launch("attention_forward_mma", forward_kernel<T, kColumns, Scores>,
         {{static_cast<uint32_t>(tiles), static_cast<uint32_t>(d.heads)},
          {Shape::kThreads},
          Shape::kSharedBytes},
         stream, d, Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k}, Scores<T>(d),
         Dropout<float>(d), unit_of<Scores<T>>(d), q, k, v, out, lse);
}

}  // namespace plinth::kernels::cuda::attention::tensor_core
