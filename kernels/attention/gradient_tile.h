#pragma once

// What the backward passes of the CPU kernels recompute: p and ds of a group of queries and a tile
// of keys, from q, k, v, dout and lse. Scores are in units of log 2, queries being scaled by
// scale log2(e).

#include "kernels/attention/score.h"

namespace plinth::kernels::cpu::attention {

// What a backward pass reads.
template <class T>
struct GradientInputs {
  const T *dout, *q, *k, *v, *out;
  const compute_t<T>* lse;
};

// delta of attention.h, of a query whose dout is at hand in `padded` elements; `buffer` holds as
// many.
template <class T>
compute_t<T> delta_of(const AttentionDesc& d, const Problem& p, const T* out, int64_t head,
                      int64_t query, const compute_t<T>* dout, int64_t padded,
                      compute_t<T>* buffer) {
  using C = compute_t<T>;
  copy_rows(row(out, d.out, p.batch, head, p.q_begin + query), 0, 1, d.head_dim, padded, C(1),
            buffer);
  Vec<C> sum{};
  for (int64_t x = 0; x < padded; x += kLanes<C>) sum += load(buffer + x) * load(dout + x);
  const C delta = sum_lanes<C>(sum);
  if (!d.dlse) return delta;
  const int64_t at = (p.batch * d.heads + head) * d.q_len + p.q_begin + query;
  return delta - static_cast<const C*>(d.dlse)[at];
}

// Queries of one head: rows of q and dout, lse in units of log 2, delta.
template <class C>
struct QueryRows {
  C *q = nullptr, *dout = nullptr, *lse = nullptr, *delta = nullptr;
};

// A tile of kKeys keys and values, as rows and transposed.
template <class C>
struct KeyTile {
  C *k = nullptr, *v = nullptr, *k_columns = nullptr, *v_columns = nullptr;
};

template <class T>
class GradientTile {
 public:
  using C = compute_t<T>;

  GradientTile(const AttentionDesc& d, const GradientInputs<T>& in)
      : d_(d), in_(in), score_(d), dropout_(d), padded_(padded_dim<C>(d)) {}

  int64_t padded() const { return padded_; }

  void start(const Problem& p, int64_t head) {
    p_ = p;
    head_ = head;
    score_.start(p, head);
  }

  // Queries [begin, begin + count) of the head, and room for a group that pads the last one.
  // Padding, and queries that see no key, get lse = inf, so that their p is 0. `buffer` holds a
  // row.
  void read_queries(int64_t begin, int64_t count, const QueryRows<C>& rows, C* buffer) const {
    const int64_t pad = kGroup * padded_, first = p_.q_begin + begin;
    constexpr C kInfinity = std::numeric_limits<C>::infinity();
    copy_rows(row(in_.q, d_.q, p_.batch, head_, first), d_.q.seq, count, d_.head_dim, padded_,
              C(d_.scale) * std::numbers::log2e_v<C>, rows.q);
    copy_rows(row(in_.dout, d_.dout, p_.batch, head_, first), d_.dout.seq, count, d_.head_dim,
              padded_, C(1), rows.dout);
    std::fill_n(rows.q + count * padded_, pad, C(0));
    std::fill_n(rows.dout + count * padded_, pad, C(0));
    std::fill_n(rows.lse + count, kGroup, kInfinity);
    std::fill_n(rows.delta + count, kGroup, C(0));
    const C* lse = in_.lse + (p_.batch * d_.heads + head_) * d_.q_len + first;
    for (int64_t i = 0; i < count; ++i) {
      rows.lse[i] = lse[i] == -kInfinity ? kInfinity : lse[i] * std::numbers::log2e_v<C>;
      rows.delta[i] =
          delta_of(d_, p_, in_.out, head_, begin + i, rows.dout + i * padded_, padded_, buffer);
    }
  }

  void read_keys(int64_t key, const KeyTile<C>& tile) const {
    const int64_t count = std::min<int64_t>(kKeys<C>, p_.kv_visible - key);
    const int64_t kv_head = head_ / (d_.heads / d_.kv_heads);
    copy_rows(row(in_.k, d_.k, p_.batch, kv_head, p_.k_begin + key), d_.k.seq, count, d_.head_dim,
              padded_, C(1), tile.k);
    copy_rows(row(in_.v, d_.v, p_.batch, kv_head, p_.k_begin + key), d_.v.seq, count, d_.head_dim,
              padded_, C(1), tile.v);
    std::fill(tile.k + count * padded_, tile.k + kKeys<C> * padded_, C(0));
    transpose_keys(tile.k, count, d_.head_dim, padded_, tile.k_columns);
    transpose_keys(tile.v, count, d_.head_dim, padded_, tile.v_columns);
  }

  // The queries that see some key of [first, last], but for padding.
  Range seeing_queries(int64_t first, int64_t last) const {
    const int64_t offset = p_.kv_len - p_.q_len;
    Range queries{0, p_.q_len};
    if (d_.causal) {
      queries.begin = std::max<int64_t>(0, first - offset);
    } else if (d_.window > 0) {
      queries.begin = std::max<int64_t>(0, first - offset - d_.window + 1);
    }
    if (d_.window > 0) queries.end = std::min(queries.end, last - offset + d_.window);
    return queries;
  }

  // p (times dropout's factor) and ds of queries [i, end), which stand at row r of `rows`, and the
  // tile of keys at `key`, in the vectors that it returns. With kOfProducts, dx in place of ds.
  template <bool kOfProducts>
  KeyVectors group(const QueryRows<C>& rows, int64_t r, int64_t i, int64_t end, int64_t key,
                   const KeyTile<C>& tile, C* weights, C* slopes) const {
    const KeyVectors v = visible_vectors<C>(d_, p_, i, end - 1, key);
    const BlockSight sight = score_.sight(i, end - 1, key);
    if (v.begin >= v.end || sight == BlockSight::Empty) return {};
    group_scores(rows.q + r * padded_, padded_, tile.k_columns, d_.head_dim, v, weights);
    group_scores(rows.dout + r * padded_, padded_, tile.v_columns, d_.head_dim, v, slopes);
    const bool bends = kOfProducts && score_.bends();
    alignas(kVectorBytes) C bend[kGroup * kKeys<C>];  // d score / d x
    if (score_.changes()) {
      for (int64_t x = i; x < end; ++x) {
        const int64_t at = (x - i) * kKeys<C>;
        score_.change(x, key, v, weights + at, bends ? bend + at : nullptr);
      }
    }
    if (v.partial) {
      for (int64_t x = i; x < end; ++x)
        mask_row(weights + (x - i) * kKeys<C>, v, key, visible_keys(d_, p_, x),
                 -std::numeric_limits<C>::infinity());
    }
    if (sight == BlockSight::Partial) {
      for (int64_t x = i; x < end; ++x) score_.hide(x, key, v, weights + (x - i) * kKeys<C>);
    }
    if (dropout_.active()) {
      differentiate<true>(rows, r, v, key, i, weights, slopes);
    } else {
      differentiate<false>(rows, r, v, key, i, weights, slopes);
    }
    if (bends) {
      for (int64_t x = 0; x < (end - i) * kKeys<C>; x += kKeys<C>)
        for (int j = v.begin * kLanes<C>; j < v.end * kLanes<C>; j += kLanes<C>)
          store(slopes + x + j, load(slopes + x + j) * load(bend + x + j));
    }
    return v;
  }

 private:
  // Scores become p, products dout . v become ds.
  template <bool kDropped>
  void differentiate(const QueryRows<C>& rows, int64_t r, KeyVectors v, int64_t key, int64_t i,
                     C* weights, C* slopes) const {
    alignas(kVectorBytes) C factors[kKeys<C>];
    for (int g = 0; g < kGroup; ++g, weights += kKeys<C>, slopes += kKeys<C>) {
      if (kDropped) dropout_.factors(p_, head_, i + g, key, factors);
      for (int x = v.begin * kLanes<C>; x < v.end * kLanes<C>; x += kLanes<C>) {
        const Vec<C> weight = exp2_vector(load(weights + x) - rows.lse[r + g]);
        Vec<C> slope = load(slopes + x), kept = weight;
        if (kDropped) {
          slope *= load(factors + x);
          kept *= load(factors + x);
        }
        store(weights + x, kept);
        store(slopes + x, weight * (slope - rows.delta[r + g]));
      }
    }
  }

  const AttentionDesc& d_;
  GradientInputs<T> in_;
  Score<T> score_;
  Dropout dropout_;
  int64_t padded_;
  Problem p_;
  int64_t head_ = 0;
};

}  // namespace plinth::kernels::cpu::attention
