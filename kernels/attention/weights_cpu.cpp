#include "kernels/attention/weights.h"

#include "kernels/attention/score.h"
#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu {
namespace attention {
namespace {

// The problem of a batch element's row, and the row's place in it.
struct PlaceOfRow {
  Problem problem;
  int64_t query;
};

PlaceOfRow place_of(const AttentionDesc& d, int64_t batch, int64_t row) {
  int64_t index = batch;
  if (d.cu_seqlens_q) {
    const int64_t* end = d.cu_seqlens_q + d.sequences + 1;
    index = std::upper_bound(d.cu_seqlens_q, end, row) - d.cu_seqlens_q - 1;
  }
  const Problem p = problem_at(d, index);
  return {p, row - p.q_begin};
}

// One row at a time.
template <class T>
class Weights {
 public:
  using C = compute_t<T>;

  Weights(const AttentionDesc& d, const T* q, const T* k)
      : d_(d), q_(q), k_(k), score_(d), padded_(padded_dim<C>(d)) {
    static thread_local Scratch scratch;
    query_ = scratch.get<C>((kKeys<C> + 1) * padded_);
    keys_ = query_ + padded_;
  }

  void run(int64_t batch, int64_t head, int64_t row, C* weights) {
    const auto [p, query] = place_of(d_, batch, row);
    const Range keys = visible_keys(d_, p, query);
    std::fill(weights, weights + d_.kv_len, C(0));
    if (keys.empty()) return;
    score_.start(p, head);
    copy_rows(attention::row(q_, d_.q, batch, head, row), d_.q.seq, 1, d_.head_dim, padded_,
              C(d_.scale) * std::numbers::log2e_v<C>, query_);
    C* const own = weights + p.k_begin;
    for (int64_t key = keys.begin; key < keys.end; key += kKeys<C>)
      add_scores(p, head, query, key, std::min<int64_t>(kKeys<C>, keys.end - key), own + key);
    soften(own + keys.begin, own + keys.end);
  }

 private:
  void add_scores(const Problem& p, int64_t head, int64_t query, int64_t key, int64_t count,
                  C* to) {
    const int64_t kv_head = head / (d_.heads / d_.kv_heads);
    copy_rows(row(k_, d_.k, p.batch, kv_head, p.k_begin + key), d_.k.seq, count, d_.head_dim,
              padded_, C(1), keys_);
    std::fill(keys_ + count * padded_, keys_ + kKeys<C> * padded_, C(0));
    alignas(kVectorBytes) C scores[kKeys<C>];
    for (int j = 0; j < kKeys<C>; j += kLanes<C>)
      store(scores + j, products(query_, keys_ + j * padded_, padded_, padded_));
    constexpr KeyVectors kWhole{0, kKeyVectors, true};
    if (score_.changes()) score_.change(query, key, kWhole, scores);
    if (score_.sight(query, query, key) != BlockSight::Full)
      score_.hide(query, key, kWhole, scores);
    std::copy(scores, scores + count, to);
  }

  void soften(C* begin, C* end) const {
    C top = score_.sink();
    for (const C* x = begin; x < end; ++x) top = std::max(top, *x);
    const C origin = top == -std::numeric_limits<C>::infinity() ? C(0) : top;
    C total = std::exp2(score_.sink() - origin);
    for (C* x = begin; x < end; ++x) total += * x = std::exp2(*x - origin);
    for (C* x = begin; total > 0 && x < end; ++x) *x /= total;
  }

  const AttentionDesc& d_;
  const T *q_, *k_;
  Score<T> score_;
  int64_t padded_;
  C *query_, *keys_;
};

}  // namespace
}  // namespace attention

template <class T>
void attention_weights(const AttentionDesc& d, int64_t head_count, const int64_t* heads,
                       int64_t row_count, const int64_t* rows, const T* q, const T* k,
                       compute_t<T>* weights) {
  const int64_t grain = grain_for(d.kv_len * d.head_dim);
  parallel_for(d.batch * head_count * row_count, grain, [&](int64_t begin, int64_t end) {
    attention::Weights<T> of_row(d, q, k);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t above = t / row_count;
      of_row.run(above / head_count, heads[above % head_count], rows[t % row_count],
                 weights + t * d.kv_len);
    }
  });
}

#define PLINTH_INSTANTIATE(T)                                                             \
  template void attention_weights(const AttentionDesc&, int64_t, const int64_t*, int64_t, \
                                  const int64_t*, const T*, const T*, compute_t<T>*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
