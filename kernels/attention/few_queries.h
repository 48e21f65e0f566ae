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
        v_rows_(v_scratch.get<C>(kKeys<C> * padded_)),
        k_last_(k_last_scratch.get<C>(kLanes<C> * padded_)) {}

  // Every query of one key/value head.
  void run(const Problem& p, int64_t kv_head) {
    start(p, kv_head);
    if (queries_.empty()) return;
    Range keys{p.kv_len, 0};
    for (const Query& query : queries_)
      keys = {std::min(keys.begin, query.keys.begin), std::max(keys.end, query.keys.end)};
    for (int64_t key = keys.begin / kKeys<C> * kKeys<C>; key < keys.end; key += kKeys<C>) {
      const int64_t count = std::min<int64_t>(kKeys<C>, keys.end - key);
      k_tile_ = whole_rows(row(k_, d_.k, p.batch, kv_head, p.k_begin + key), d_.k.seq, count,
                           d_.head_dim, padded_, k_rows_);
      v_tile_ = whole_rows(row(v_, d_.v, p.batch, kv_head, p.k_begin + key), d_.v.seq, count,
                           d_.head_dim, padded_, v_rows_);
      pad_last_keys(count);
      for (Query& query : queries_) add_keys(p, query, key);
    }
    for (const Query& query : queries_) {
      score_.start(p, query.head);
      score_.finish(p, query.head, query.position, query.sums, query.top, query.total, out_, lse_);
    }
  }

 private:
  static inline thread_local Scratch k_scratch, k_last_scratch, v_scratch, query_scratch;

  struct Query {
    int64_t head, position;
    Range keys;
    C* row;
    C* sums;
    C top = -std::numeric_limits<C>::infinity(), total = 0;
  };

  // Products are taken of a vector of keys at once: keys that do not fill one are copied, with
  // zeros behind them.
  void pad_last_keys(int64_t count) {
    whole_vectors_ = static_cast<int>(count / kLanes<C>);
    const int64_t rest = count % kLanes<C>;
    vectors_ = {0, whole_vectors_ + (rest > 0 ? 1 : 0), true};
    if (rest == 0) return;
    copy_rows(keys_at(whole_vectors_), k_tile_.stride, rest, padded_, padded_, C(1), k_last_);
    std::fill(k_last_ + rest * padded_, k_last_ + kLanes<C> * padded_, C(0));
  }
  const C* keys_at(int x) const { return k_tile_.first + x * kLanes<C> * k_tile_.stride; }
  Rows<C> vector_of_keys(int x) const {
    return x < whole_vectors_ ? Rows<C>{keys_at(x), k_tile_.stride} : Rows<C>{k_last_, padded_};
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
    for (int x = 0; x < vectors_.end; ++x) {
      const Rows<C> keys = vector_of_keys(x);
      store(scores + x * kLanes<C>, products(query.row, keys.first, keys.stride, padded_));
    }
    if (score_.changes()) score_.change(query.position, key, vectors_, scores);
    mask_row(scores, vectors_, key, query.keys, -std::numeric_limits<C>::infinity());
    if (sight == BlockSight::Partial) score_.hide(query.position, key, vectors_, scores);

    Vec<C> most = load(scores);
    for (int x = 1; x < vectors_.end; ++x) most = larger<C>(most, load(scores + x * kLanes<C>));
    const C top = std::max(query.top, largest_lane<C>(most));
    const C origin = top == -std::numeric_limits<C>::infinity() ? C(0) : top;
    Vec<C> sum{};
    for (int x = 0; x < vectors_.end; ++x) {
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
      for (int64_t j = low; j < high; ++j) scores[j] *= factors[j];
    }
    for (int64_t x = 0; x < padded_; x += kLanes<C>) {
      Vec<C> value = load(query.sums + x) * decay;
      for (int64_t j = low; j < high; ++j)
        value += scores[j] * load(v_tile_.first + j * v_tile_.stride + x);
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
  KeyVectors vectors_;  // of a tile of keys: those that exist
  int whole_vectors_ = 0;
  Rows<C> k_tile_{}, v_tile_{};
  C *k_rows_, *v_rows_, *k_last_;
  std::vector<Query> queries_;
};

template <class T>
void few_queries_forward(const AttentionDesc& d, const T* q, const T* k, const T* v, T* out,
                         compute_t<T>* lse) {
  if (d.kv_heads == 0) return;  // no heads, and no group of them
  const int64_t visits = d.heads / d.kv_heads * d.q_len * d.kv_len * d.head_dim / 4;
  parallel_for(problem_count(d) * d.kv_heads, grain_for(visits), [&](int64_t begin, int64_t end) {
    FewQueries<T> queries(d, q, k, v, out, lse);
    for (int64_t t = begin; t < end; ++t)
      queries.run(problem_at(d, t / d.kv_heads), t % d.kv_heads);
  });
}

}  // namespace plinth::kernels::cpu::attention
