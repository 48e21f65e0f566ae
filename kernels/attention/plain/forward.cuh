#pragma once

// The forward kernel of plain.h, and its launch.

#include "kernels/attention/plain/tiles.cuh"

namespace plinth::kernels::cuda::attention {

// The online softmax of a warp's rows: each lane sums its own keys, the lanes are added at the end.
template <class C>
struct Softmax {
  C top[kRows<C>];
  C total[kRows<C>] = {};

  PLINTH_DEVICE Softmax() {
    PLINTH_UNROLL
    for (int r = 0; r < kRows<C>; ++r) top[r] = -std::numeric_limits<C>::infinity();
  }

  // Makes a weight of row r's score at the lane's key; returns by how much earlier sums shrink.
  PLINTH_DEVICE C soften(int r, C& score) {
    const C most = Max{}(top[r], warp_reduce<Max>(score));
    // A row that has seen no key yet keeps 2^(-inf - 0) = 0.
    const C origin = most == -std::numeric_limits<C>::infinity() ? C(0) : most;
    const C decay = power_of_two(top[r] - origin);
    score = power_of_two(score - origin);
    total[r] = total[r] * decay + score;
    top[r] = most;
    return decay;
  }

  // Adds a sink to row r's whole sum; returns by how much the sums of values shrink.
  PLINTH_DEVICE C add_sink(int r, C sink, C& whole) {
    const C most = Max{}(top[r], sink);
    const C origin = most == -std::numeric_limits<C>::infinity() ? C(0) : most;
    const C decay = power_of_two(top[r] - origin);
    whole = whole * decay + power_of_two(sink - origin);
    top[r] = most;
    return decay;
  }
};

template <class T, int kColumns, class Rule>
PLINTH_KERNEL void forward_kernel(AttentionDesc d, Lengths lengths, Rule rule,
                                  Dropout<compute_t<T>> dropout, bool whole, Global<const T> q,
                                  Global<const T> k, Global<const T> v, Global<T> out,
                                  Global<compute_t<T>> lse) {
  using C = compute_t<T>;
  constexpr int kRowPitch = kPitch<C, kColumns>;
  const Shared<C> q_tile = shared_array<C>(0, (kOwn<C> + 2 * kOther) * kRowPitch);
  const Shared<C> k_tile = q_tile + kOwn<C> * kRowPitch;
  const Shared<C> v_tile = k_tile + kOther * kRowPitch;
  const Problem p = problem_of(d, lengths, block_index().x, kOwn<C>, false);
  if (p.first >= p.q_len) return;  // the whole block
  dropout.read_place();
  const int64_t head = block_index().y, kv_head = head / (d.heads / d.kv_heads);
  const int64_t own = p.first + warp_index() * kRows<C>;  // the warp's first query
  const int64_t end = least(p.first + kOwn<C>, p.q_len);
  auto score = rule.of(p, head);

  load_tile<kOwn<C>, kColumns>(row_of(q, d.q, p.batch, head, p.q_begin + p.first), d.q.seq,
                               end - p.first, d.head_dim, whole, q_tile);
  Softmax<C> softmax;
  Sums<C, kColumns> sums;
  const Range keys{p.keys_of(d, p.first).begin, p.keys_of(d, end - 1).end};
  for (int64_t key = keys.begin / kOther * kOther; key < keys.end; key += kOther) {
    if (rule.look(score, {p.first, end}, {key, key + kOther}) == cpu::BlockSight::Empty) continue;
    block_sync();  // the tiles before are used up
    const int64_t rows = least(int64_t{kOther}, p.kv_visible - key);
    load_tile<kOther, kColumns>(row_of(k, d.k, p.batch, kv_head, p.k_begin + key), d.k.seq, rows,
                                d.head_dim, whole, k_tile);
    load_tile<kOther, kColumns>(row_of(v, d.v, p.batch, kv_head, p.k_begin + key), d.v.seq, rows,
                                d.head_dim, whole, v_tile);
    block_sync();
    C weights[kRows<C>];
    multiply<kColumns>(q_tile, k_tile, d.head_dim, weights);
    const int64_t j = key + lane_index();
    PLINTH_UNROLL
    for (int r = 0; r < kRows<C>; ++r) {
      const Range seen = p.keys_of(d, own + r);
      const bool visible =
          own + r < p.q_len && j >= seen.begin && j < seen.end && score.sees(own + r, j);
      weights[r] =
          visible ? score.at(weights[r], own + r, j).value : -std::numeric_limits<C>::infinity();
      sums.scale(r, softmax.soften(r, weights[r]));
      weights[r] *= dropout.factor(p, head, own + r, j);
    }
    sums.add(weights, v_tile);
  }
  PLINTH_UNROLL
  for (int r = 0; r < kRows<C>; ++r) {
    C total = warp_reduce<Sum>(softmax.total[r]);
    if (rule.has_sinks()) sums.scale(r, softmax.add_sink(r, rule.sink(head), total));
    if (own + r >= p.q_len) continue;
    const int64_t i = p.q_begin + own + r;
    sums.write_row(r, total == 0 ? C(0) : 1 / total, d.head_dim,
                   row_of(out, d.out, p.batch, head, i));
    if (lane_index() == 0) {
      lse[(p.batch * d.heads + head) * d.q_len + i] =
          (softmax.top[r] + std::log2(total)) * std::numbers::ln2_v<C>;
    }
  }
}

template <class T, int kColumns, class Rule>
void launch_plain_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                          T* out, compute_t<T>* lse) {
  using C = compute_t<T>;
  const int64_t tiles = tiles_of(d, d.q_len, kOwn<C>);
  if (tiles == 0 || d.heads == 0) return;
  const bool whole = whole_rows(d, d.q, q) && whole_rows(d, d.k, k) && whole_rows(d, d.v, v);
  const Lengths lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k};
  const LaunchShape shape{{static_cast<uint32_t>(tiles), static_cast<uint32_t>(d.heads)},
                          {kThreads},
                          bytes_of_rows<C, kColumns>(kOwn<C> + 2 * kOther)};
  launch("attention_forward", forward_kernel<T, kColumns, Rule>, shape, stream, d, lengths, Rule(d),
         Dropout<C>(d), whole, q, k, v, out, lse);
}

}  // namespace plinth::kernels::cuda::attention
