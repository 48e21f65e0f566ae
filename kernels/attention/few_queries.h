#pragma once

// Attention of a few queries to many keys, as when a model generates: bound by reading k and v
// once, so keys are not packed, and all queries of a key/value head share each tile.

#include "kernels/attention/score.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu::attention {

template <class T>
class FewQueries {
 public:
  using C = compute_t<T>;

  FewQueries(const AttentionDesc& d, const T* q, const T* k, const T* v, T* out, C* lse)
      : d_(d),
        q_(q),
        k_(k),
        v_(v),
        out_(out),
        lse_(lse),
        score_(d),
        dropout_(d),
        padded_(padded_dim<C>(d)),
        group_(d.heads / d.kv_heads),
        k_rows_(k_scratch.get<C>(kKeys<C> * padded_)),
        v_rows_(v_scratch.get<C>(kKeys<C> * padded_)) {}

  // Every query of one key/value head.
  void run(const Problem& p, int64_t kv_head) {
    start(p, kv_head);
    if (queries_.empty()) return;
    Range keys{p.kv_len, 0};
    for (const Query& query : queries_)
      keys = {std::min(keys.begin, query.keys.begin), std::max(keys.end, query.keys.end)};
    for (int64_t key = keys.begin / kKeys<C> * kKeys<C>; key < keys.end; key += kKeys<C>) {
      const int64_t count = std::min<int64_t>(kKeys<C>, keys.end - key);
      k_tile_ = tile(row(k_, d_.k, p.batch, kv_head, p.k_begin + key), d_.k.seq, count, k_rows_);
      v_tile_ = tile(row(v_, d_.v, p.batch, kv_head, p.k_begin + key), d_.v.seq, count, v_rows_);
      for (Query& query : queries_) add_keys(p, query, key);
    }
    for (const Query& query : queries_) {
      score_.start(p, query.head);
      score_.finish(p, query.head, query.position, query.sums, query.top, query.total, out_, lse_);
    }
  }

 private:
  static inline thread_local Scratch k_scratch, v_scratch, query_scratch;

  struct Query {
    int64_t head, position;
    Range keys;
    C* row;
    C* sums;
    C top = -std::numeric_limits<C>::infinity(), total = 0;
  };

  struct Tile {
    const C* rows;
    int64_t stride;
  };

  // kKeys rows from `from`, of which `count` exist: in place, or widened or padded with zeros in
  // `buffer`.
  Tile tile(const T* from, int64_t stride, int64_t count, C* buffer) const {
    if constexpr (is_wide<T>) {
      if (d_.head_dim == padded_ && count == kKeys<C>) return {from, stride};
    }
    copy_rows(from, stride, count, d_.head_dim, padded_, C(1), buffer);
    std::fill(buffer + count * padded_, buffer + kKeys<C> * padded_, C(0));
    return {buffer, padded_};
  }

  void start(const Problem& p, int64_t kv_head) {
    queries_.clear();
    const int64_t size = 2 * group_ * p.q_len * padded_;
    C* next = query_scratch.get<C>(size);
    std::fill(next, next + size, C(0));
    for (int64_t head = kv_head * group_; head < (kv_head + 1) * group_; ++head) {
      for (int64_t i = 0; i < p.q_len; ++i, next += 2 * padded_) {
        copy_rows(row(q_, d_.q, p.batch, head, p.q_begin + i), d_.q.seq, 1, d_.head_dim, padded_,
                  C(d_.scale) * std::numbers::log2e_v<C>, next);
        queries_.push_back({head, i, visible_keys(d_, p, i), next, next + padded_});
      }
    }
  }

  void add_keys(const Problem& p, Query& query, int64_t key) {
    const int64_t low = std::max<int64_t>(query.keys.begin - key, 0);
    const int64_t high = std::min<int64_t>(query.keys.end - key, kKeys<C>);
    if (low >= high) return;
    score_.start(p, query.head);
    const BlockSight sight = score_.sight(query.position, query.position, key);
    if (sight == BlockSight::Empty) return;
    alignas(kVectorBytes) C scores[kKeys<C>];
    for (int j = 0; j < kKeys<C>; j += kLanes<C>)
      store(scores + j,
            products(query.row, k_tile_.rows + j * k_tile_.stride, k_tile_.stride, padded_));
    constexpr KeyVectors kWhole{0, kKeyVectors, true};
    if (score_.changes()) score_.change(query.position, key, kWhole, scores);
    mask_row(scores, kWhole, key, query.keys, -std::numeric_limits<C>::infinity());
    if (sight == BlockSight::Partial) score_.hide(query.position, key, kWhole, scores);

    Vec<C> most = load(scores);
    for (int x = 1; x < kKeyVectors; ++x) most = larger<C>(most, load(scores + x * kLanes<C>));
    const C top = std::max(query.top, largest_lane<C>(most));
    const C origin = top == -std::numeric_limits<C>::infinity() ? C(0) : top;
    Vec<C> sum{};
    for (int x = 0; x < kKeyVectors; ++x) {
      const Vec<C> weight = exp2_vector(load(scores + x * kLanes<C>) - origin);
      sum += weight;
      store(scores + x * kLanes<C>, weight);
    }
    const C decay = exp2_vector(broadcast(query.top - origin))[0];
    query.total = query.total * decay + sum_lanes<C>(sum);
    query.top = top;
    if (dropout_.active()) {
      alignas(kVectorBytes) C factors[kKeys<C>];
      dropout_.factors(p, query.head, query.position, key, factors);
      for (int j = 0; j < kKeys<C>; ++j) scores[j] *= factors[j];
    }
    for (int64_t x = 0; x < padded_; x += kLanes<C>) {
      Vec<C> value = load(query.sums + x) * decay;
      for (int64_t j = low; j < high; ++j)
        value += scores[j] * load(v_tile_.rows + j * v_tile_.stride + x);
      store(query.sums + x, value);
    }
  }

  const AttentionDesc& d_;
  const T *q_, *k_, *v_;
  T* out_;
  C* lse_;
  Score<T> score_;
  Dropout dropout_;
  int64_t padded_, group_;
  Tile k_tile_{}, v_tile_{};
  C *k_rows_, *v_rows_;
  std::vector<Query> queries_;
};

template <class T>
void few_queries_forward(const AttentionDesc& d, const T* q, const T* k, const T* v, T* out,
                         compute_t<T>* lse) {
  const int64_t visits = d.heads / d.kv_heads * d.q_len * d.kv_len * d.head_dim / 4;
  parallel_for(problem_count(d) * d.kv_heads, grain_for(visits), [&](int64_t begin, int64_t end) {
    FewQueries<T> queries(d, q, k, v, out, lse);
    for (int64_t t = begin; t < end; ++t)
      queries.run(problem_at(d, t / d.kv_heads), t % d.kv_heads);
  });
}

}  // namespace plinth::kernels::cpu::attention
