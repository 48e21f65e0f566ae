#pragma once

// The backward kernels of plain.h for dq, dk and dv, and their launches.

#include "kernels/attention/plain/gradient_tiles.cuh"

namespace plinth::kernels::cuda::attention {

// A block owns queries, a lane a key of each tile.
template <class T, int kColumns, class Rule>
PLINTH_KERNEL void dq_kernel(AttentionDesc d, Lengths lengths, Rule rule,
                             Dropout<compute_t<T>> dropout, GradientInputs<T> in, Global<T> dq) {
  using C = compute_t<T>;
  const GradientTiles<C, kColumns> tiles;
  const Problem p = problem_of(d, lengths, block_index().x, kOwn<C>, false);
  if (p.first >= p.q_len) return;  // the whole block
  dropout.read_place();
  const int64_t head = block_index().y, kv_head = head / (d.heads / d.kv_heads);
  const int64_t own = p.first + warp_index() * kRows<C>;  // the warp's first query
  const int64_t end = least(p.first + kOwn<C>, p.q_len);
  auto score = rule.of(p, head);

  const int64_t begin = p.q_begin + p.first;
  load_tiles<kOwn<C>, kColumns>(row_of(in.q, d.q, p.batch, head, begin), d.q.seq,
                                row_of(in.dout, d.dout, p.batch, head, begin), d.dout.seq,
                                end - p.first, d.head_dim, in.whole, tiles.own, tiles.own_second);
  RowNumbers<C> rows;
  rows.read(d, p, head, own, in);
  Sums<C, kColumns> sums;
  const Range keys{p.keys_of(d, p.first).begin, p.keys_of(d, end - 1).end};
  for (int64_t key = keys.begin / kOther * kOther; key < keys.end; key += kOther) {
    if (rule.look(score, {p.first, end}, {key, key + kOther}) == cpu::BlockSight::Empty) continue;
    block_sync();  // the tiles before are used up
    load_tiles<kOther, kColumns>(row_of(in.k, d.k, p.batch, kv_head, p.k_begin + key), d.k.seq,
                                 row_of(in.v, d.v, p.batch, kv_head, p.k_begin + key), d.v.seq,
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
      const Score<C> s = visible ? score.at(scores[r], own + r, j) : Score<C>{0, 0};
      const C weight = visible ? power_of_two(s.value - rows.lse[r]) : C(0);
      const C factor = dropout.factor(p, head, own + r, j);
      slopes[r] = weight * (factor * slopes[r] - rows.delta[r]) * s.slope;
    }
    sums.add(slopes, tiles.other);
  }
  PLINTH_UNROLL
  for (int r = 0; r < kRows<C>; ++r) {
    if (own + r < p.q_len)
      sums.write_row(r, C(d.scale), d.head_dim,
                     row_of(dq, d.dq, p.batch, head, p.q_begin + own + r));
  }
}

// The terms of dk and dv that the block's keys get from one query head: a lane has a query of each
// tile.
template <class T, int kColumns, class Rule>
PLINTH_DEVICE void add_head(const AttentionDesc& d, const Problem& p, const Rule& rule,
                            const Dropout<compute_t<T>>& dropout, const GradientInputs<T>& in,
                            const GradientTiles<compute_t<T>, kColumns>& tiles, int64_t head,
                            Sums<compute_t<T>, kColumns>& dk, Sums<compute_t<T>, kColumns>& dv) {
  using C = compute_t<T>;
  const int64_t own = p.first + warp_index() * kRows<C>;  // the warp's first key
  auto score = rule.of(p, head);
  const Range queries = p.queries_of(d, p.first, least(p.first + kOwn<C>, p.kv_visible) - 1);
  for (int64_t query = queries.begin; query < queries.end; query += kOther) {
    if (rule.look(score, {query, query + kOther}, {p.first, p.first + kOwn<C>}) ==
        cpu::BlockSight::Empty)
      continue;
    block_sync();  // the tiles before are used up
    const int64_t begin = p.q_begin + query;
    load_tiles<kOther, kColumns>(row_of(in.q, d.q, p.batch, head, begin), d.q.seq,
                                 row_of(in.dout, d.dout, p.batch, head, begin), d.dout.seq,
                                 least(int64_t{kOther}, p.q_len - query), d.head_dim, in.whole,
                                 tiles.other, tiles.other_second);
    block_sync();
    C weights[kRows<C>], slopes[kRows<C>];
    multiply<kColumns>(tiles.own, tiles.other, d.head_dim, weights);
    multiply<kColumns>(tiles.own_second, tiles.other_second, d.head_dim, slopes);
    const int64_t i = query + lane_index();
    C lse = std::numeric_limits<C>::infinity(), delta = 0;
    if (i < p.q_len) {
      const int64_t at = (p.batch * d.heads + head) * d.q_len + p.q_begin + i;
      lse = lse_of_weights<C>(in.lse[at]);
      delta = in.delta[at];
    }
    const Range seen = p.keys_of(d, i);
    PLINTH_UNROLL
    for (int r = 0; r < kRows<C>; ++r) {
      const int64_t j = own + r;
      const bool visible = i < p.q_len && j >= seen.begin && j < seen.end && score.sees(i, j);
      const Score<C> s = visible ? score.at(weights[r], i, j) : Score<C>{0, 0};
      const C weight = visible ? power_of_two(s.value - lse) : C(0);
      const C factor = dropout.factor(p, head, i, j);
      weights[r] = factor * weight;
      slopes[r] = weight * (factor * slopes[r] - delta) * s.slope;
    }
    dv.add(weights, tiles.other_second);
    dk.add(slopes, tiles.other);
  }
}

// A block owns keys and adds the query heads that share them, in order.
template <class T, int kColumns, class Rule>
PLINTH_KERNEL void dk_dv_kernel(AttentionDesc d, Lengths lengths, Rule rule,
                                Dropout<compute_t<T>> dropout, GradientInputs<T> in, Global<T> dk,
                                Global<T> dv) {
  using C = compute_t<T>;
  const GradientTiles<C, kColumns> tiles;
  const Problem p = problem_of(d, lengths, block_index().x, kOwn<C>, true);
  if (p.first >= p.kv_len) return;  // the whole block
  dropout.read_place();
  const int64_t kv_head = block_index().y, group = d.heads / d.kv_heads;
  const int64_t begin = p.k_begin + p.first;
  load_tiles<kOwn<C>, kColumns>(row_of(in.k, d.k, p.batch, kv_head, begin), d.k.seq,
                                row_of(in.v, d.v, p.batch, kv_head, begin), d.v.seq,
                                least(int64_t{kOwn<C>}, p.kv_visible - p.first), d.head_dim,
                                in.whole, tiles.own, tiles.own_second);
  Sums<C, kColumns> dk_sums, dv_sums;
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
    add_head<T, kColumns>(d, p, rule, dropout, in, tiles, head, dk_sums, dv_sums);
  PLINTH_UNROLL
  for (int r = 0; r < kRows<C>; ++r) {
    const int64_t j = p.first + warp_index() * kRows<C> + r;
    if (j >= p.kv_len) continue;
    dk_sums.write_row(r, C(d.scale), d.head_dim, row_of(dk, d.dk, p.batch, kv_head, p.k_begin + j));
    dv_sums.write_row(r, C(1), d.head_dim, row_of(dv, d.dv, p.batch, kv_head, p.k_begin + j));
  }
}

template <class T, int kColumns, class Rule>
void launch_plain_backward(Stream stream, const AttentionDesc& d, const T* dout, const T* q,
                           const T* k, const T* v, const compute_t<T>* lse,
                           const compute_t<T>* delta, T* dq, T* dk, T* dv) {
  using C = compute_t<T>;
  const Lengths lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k};
  const GradientInputs<T> inputs(d, dout, q, k, v, lse, delta);
  const auto shape = [&](int64_t length, int64_t heads) {
    return LaunchShape{
        {static_cast<uint32_t>(tiles_of(d, length, kOwn<C>)), static_cast<uint32_t>(heads)},
        {kThreads},
        bytes_of_rows<C, kColumns>(GradientTiles<C, kColumns>::kAllRows)};
  };
  if (d.batch * d.heads * d.q_len > 0) {
    launch("attention_dq", dq_kernel<T, kColumns, Rule>, shape(d.q_len, d.heads), stream, d,
           lengths, Rule(d), Dropout<C>(d), inputs, dq);
  }
  if (d.batch * d.kv_heads * d.kv_len > 0) {
    launch("attention_dk_dv", dk_dv_kernel<T, kColumns, Rule>, shape(d.kv_len, d.kv_heads), stream,
           d, lengths, Rule(d), Dropout<C>(d), inputs, dk, dv);
  }
}

}  // namespace plinth::kernels::cuda::attention
