#pragma once

// The kernel of weights.h, and its launch.

#include "kernels/attention/plain/tiles.cuh"
#include "kernels/device/collective.h"

namespace plinth::kernels::cuda::attention {

// The problem of a batch element's row, which is its `first`.
PLINTH_DEVICE Problem problem_of_row(const AttentionDesc& d, const Lengths& lengths, int64_t batch,
                                     int64_t row) {
  if (!lengths.cu_seqlens_q) return problem_of(d, lengths, batch * d.q_len + row, 1, false);
  int64_t sequence = 0, beyond = d.sequences;
  while (beyond - sequence > 1) {
    const int64_t middle = (sequence + beyond) / 2, start = lengths.cu_seqlens_q[middle];
    (start <= row ? sequence : beyond) = middle;
  }
  return problem_of(d, lengths, row + sequence, 1, false);
}

template <class T>
struct WeightInputs {
  Global<const T> q, k;
  Global<const int64_t> heads, rows;
  int64_t head_count, row_count;
};

// The scores of a row, in units of log 2: a warp takes a key.
template <class T, class Rule>
PLINTH_DEVICE void write_scores(const AttentionDesc& d, const Problem& p, const Rule& rule,
                                const WeightInputs<T>& in, int64_t head, const Range& keys,
                                Global<compute_t<T>> to) {
  using C = compute_t<T>;
  const auto score = rule.of(p, head);
  const int64_t kv_head = head / (d.heads / d.kv_heads);
  const Global<const T> query = row_of(in.q, d.q, p.batch, head, p.q_begin + p.first);
  for (int64_t j = keys.begin + warp_index(); j < keys.end; j += kWarps) {
    const Global<const T> key = row_of(in.k, d.k, p.batch, kv_head, p.k_begin + j);
    C product = 0;
    for (int64_t x = lane_index(); x < d.head_dim; x += 32)
      product += C(T(query[x])) * C(T(key[x]));
    product = warp_reduce<Sum>(product);
    if (lane_index() != 0) continue;
    to[j] = score.sees(p.first, j) ? score.at(product, p.first, j).value
                                   : -std::numeric_limits<C>::infinity();
  }
}

// A block takes a row of weights.
template <class T, class Rule>
PLINTH_KERNEL void weights_kernel(AttentionDesc d, Lengths lengths, Rule rule, WeightInputs<T> in,
                                  Global<compute_t<T>> weights) {
  using C = compute_t<T>;
  constexpr C kInfinity = std::numeric_limits<C>::infinity();
  const int64_t number = block_index().x;
  const int64_t head = in.heads[number / in.row_count % in.head_count];
  const int64_t row = in.rows[number % in.row_count];
  const Problem p = problem_of_row(d, lengths, number / in.row_count / in.head_count, row);
  const Range keys = p.keys_of(d, p.first);
  const Global<C> whole = weights + number * d.kv_len, own = whole + p.k_begin;
  const int64_t thread = thread_index(), threads = block_threads();
  for (int64_t j = thread; j < d.kv_len; j += threads)
    if (j < p.k_begin + keys.begin || j >= p.k_begin + keys.end) whole[j] = 0;

  write_scores<T>(d, p, rule, in, head, keys, own);
  block_sync();
  const C sink = rule.has_sinks() ? rule.sink(head) : -kInfinity;
  C top = sink;
  for (int64_t j = keys.begin + thread; j < keys.end; j += threads) {
    const C score = own[j];
    top = Max{}(top, score);
  }
  top = block_reduce<Max>(top, -kInfinity, shared_array<C>(0, 32));
  const C origin = top == -kInfinity ? C(0) : top;
  C total = 0;
  for (int64_t j = keys.begin + thread; j < keys.end; j += threads) {
    const C score = own[j];
    total += power_of_two(score - origin);
  }
  total = block_reduce<Sum>(total, C(0), shared_array<C>(32 * sizeof(C), 32)) +
          power_of_two(sink - origin);
  for (int64_t j = keys.begin + thread; j < keys.end; j += threads) {
    const C score = own[j];
    own[j] = total > 0 ? power_of_two(score - origin) / total : C(0);
  }
}

template <class T, class Rule>
void launch_weights(Stream stream, const AttentionDesc& d, int64_t head_count, const int64_t* heads,
                    int64_t row_count, const int64_t* rows, const T* q, const T* k,
                    compute_t<T>* weights) {
  const int64_t blocks = d.batch * head_count * row_count;
  if (blocks == 0 || d.kv_len == 0) return;
  launch("attention_weights", weights_kernel<T, Rule>,
         {{static_cast<uint32_t>(blocks)}, {kThreads}, 64 * sizeof(compute_t<T>)}, stream, d,
         Lengths{d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k}, Rule(d),
         WeightInputs<T>{q, k, heads, rows, head_count, row_count}, weights);
}

}  // namespace plinth::kernels::cuda::attention
