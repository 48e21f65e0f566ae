#pragma once

// The kernel of plain.h for the gradient of bias, and its launch.

#include "kernels/attention/plain/gradient_tiles.cuh"

namespace plinth::kernels::cuda::attention {

// Pieces of one dimension of dbias: one of the whole where bias is broadcast along it, else of at
// most `size`.
struct Cut {
  int64_t length, size, count;

  Cut(int64_t dim, int64_t stride, int64_t piece)
      : length(dim),
        size(stride == 0 ? dim : piece),
        count(stride == 0 ? 1 : ceil_div(dim, piece)) {}
  PLINTH_DEVICE Range piece(int64_t number) const {
    return {number * size, least(length, (number + 1) * size)};
  }
};

struct Cuts {
  Cut batches, heads, queries, keys;
};

// The ranges whose scores a block adds, and the elements of dbias that it writes.
struct Piece {
  Range batches, heads, queries, keys;

  PLINTH_DEVICE Piece(const Cuts& cuts, int64_t number)
      : batches(
            cuts.batches.piece(number / cuts.keys.count / cuts.queries.count / cuts.heads.count)),
        heads(cuts.heads.piece(number / cuts.keys.count / cuts.queries.count % cuts.heads.count)),
        queries(cuts.queries.piece(number / cuts.keys.count % cuts.queries.count)),
        keys(cuts.keys.piece(number % cuts.keys.count)) {}
};

// Adds the ds of one tile of queries and the piece's keys: a warp has kRows queries, a lane a key
// of each tile of kOther.
template <class T, int kColumns, class Rule>
PLINTH_DEVICE void add_queries(const AttentionDesc& d, const Problem& p, const Rule& rule,
                               const Dropout<compute_t<T>>& dropout, const GradientInputs<T>& in,
                               const GradientTiles<compute_t<T>, kColumns>& tiles, int64_t head,
                               const Range& piece, compute_t<T> (&sums)[kRows<compute_t<T>>]) {
  using C = compute_t<T>;
  const int64_t kv_head = head / (d.heads / d.kv_heads), end = least(p.first + kOwn<C>, p.q_len);
  const int64_t own = p.first + warp_index() * kRows<C>;  // the warp's first query
  const int64_t first = greatest(piece.begin, p.keys_of(d, p.first).begin / kOther * kOther);
  const int64_t last = least(piece.end, p.keys_of(d, end - 1).end);
  if (first >= last) return;  // the whole block
  auto score = rule.of(p, head);
  block_sync();  // the tiles before are used up
  load_tiles<kOwn<C>, kColumns>(row_of(in.q, d.q, p.batch, head, p.first), d.q.seq,
                                row_of(in.dout, d.dout, p.batch, head, p.first), d.dout.seq,
                                end - p.first, d.head_dim, in.whole, tiles.own, tiles.own_second);
  RowNumbers<C> rows;
  rows.read(d, p, head, own, in);
  for (int64_t key = first; key < last; key += kOther) {
    if (rule.look(score, {p.first, end}, {key, key + kOther}) == cpu::BlockSight::Empty) continue;
    block_sync();
    load_tiles<kOther, kColumns>(row_of(in.k, d.k, p.batch, kv_head, key), d.k.seq,
                                 row_of(in.v, d.v, p.batch, kv_head, key), d.v.seq,
                                 least(int64_t{kOther}, p.kv_visible - key), d.head_dim, in.whole,
                                 tiles.other, tiles.other_second);
    block_sync();
    C scores[kRows<C>], slopes[kRows<C>];
    multiply<kColumns>(tiles.own, tiles.other, d.head_dim, scores);
    multiply<kColumns>(tiles.own_second, tiles.other_second, d.head_dim, slopes);
    const int64_t j = key + lane_index();
    PLINTH_UNROLL
    for (int r = 0; r < kRows<C>; ++r) {
      const Range seen = p.keys_of(d, own + r);
      const bool visible =
          own + r < p.q_len && j >= seen.begin && j < seen.end && score.sees(own + r, j);
      if (!visible) continue;
      const C weight = power_of_two(score.at(scores[r], own + r, j).value - rows.lse[r]);
      const C factor = dropout.factor(p, head, own + r, j);
      sums[r] += weight * (factor * slopes[r] - rows.delta[r]);
    }
  }
}

// Makes one of the sums of all queries, in the first row of the first warp.
template <class C>
PLINTH_DEVICE void add_rows(C (&sums)[kRows<C>]) {
  const Shared<C> of_warps = shared_array<C>(0, kThreads);
  PLINTH_UNROLL
  for (int r = 1; r < kRows<C>; ++r) sums[0] += sums[r];
  block_sync();  // the tiles are used up
  of_warps[thread_index()] = sums[0];
  block_sync();
  for (int warp = 1; warp < kWarps; ++warp) {
    const C sum = of_warps[warp * 32 + static_cast<int>(lane_index())];
    if (warp_index() == 0) sums[0] += sum;
  }
}

template <class T, int kColumns, class Rule>
PLINTH_KERNEL void bias_kernel(AttentionDesc d, Lengths lengths, Rule rule,
                               Dropout<compute_t<T>> dropout, GradientInputs<T> in, Cuts cuts,
                               Global<T> dbias) {
  using C = compute_t<T>;
  const GradientTiles<C, kColumns> tiles;
  const Piece piece(cuts, block_index().x);
  const AttentionDesc::BiasStrides& s = d.dbias_strides;
  dropout.read_place();
  C sums[kRows<C>] = {};
  const int64_t tiles_a_head = ceil_div(d.q_len, kOwn<C>);
  for (int64_t batch = piece.batches.begin; batch < piece.batches.end; ++batch) {
    for (int64_t head = piece.heads.begin; head < piece.heads.end; ++head) {
      for (int64_t i = piece.queries.begin; i < piece.queries.end; i += kOwn<C>) {
        const int64_t tile = batch * tiles_a_head + i / kOwn<C>;
        const Problem p = problem_of(d, lengths, tile, kOwn<C>, false);
        add_queries<T, kColumns>(d, p, rule, dropout, in, tiles, head, piece.keys, sums);
      }
    }
  }
  if (s.key == 0) {
    PLINTH_UNROLL
    for (int r = 0; r < kRows<C>; ++r) sums[r] = warp_reduce<Sum>(sums[r]);
  }
  if (s.query == 0) add_rows<C>(sums);

  const Global<T> to = dbias + (piece.batches.begin * s.batch + piece.heads.begin * s.head);
  const int64_t j = piece.keys.begin + lane_index();
  const bool has_key = s.key == 0 ? lane_index() == 0 : j < piece.keys.end;
  PLINTH_UNROLL
  for (int r = 0; r < kRows<C>; ++r) {
    const int64_t i = piece.queries.begin + warp_index() * kRows<C> + r;
    const bool has_query = s.query == 0 ? warp_index() == 0 && r == 0 : i < piece.queries.end;
    if (has_key && has_query) to[i * s.query + j * s.key] = T(sums[r]);
  }
}

template <class T, int kColumns, class Rule>
void launch_bias_gradient(Stream stream, const AttentionDesc& d, const T* dout, const T* q,
                          const T* k, const T* v, const compute_t<T>* lse,
                          const compute_t<T>* delta) {
  using C = compute_t<T>;
  const AttentionDesc::BiasStrides& s = d.dbias_strides;
  const Cuts cuts{{d.batch, s.batch, 1},
                  {d.heads, s.head, 1},
                  {d.q_len, s.query, kOwn<C>},
                  {d.kv_len, s.key, kOther}};
  const int64_t pieces =
      cuts.batches.count * cuts.heads.count * cuts.queries.count * cuts.keys.count;
  if (pieces == 0) return;
  const Lengths lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k};
  const LaunchShape shape{{static_cast<uint32_t>(pieces)},
                          {kThreads},
                          bytes_of_rows<C, kColumns>(GradientTiles<C, kColumns>::kAllRows)};
  launch("attention_dbias", bias_kernel<T, kColumns, Rule>, shape, stream, d, lengths, Rule(d),
         Dropout<C>(d), GradientInputs<T>(d, dout, q, k, v, lse, delta), cuts,
         static_cast<T*>(d.dbias));
}

}  // namespace plinth::kernels::cuda::attention
