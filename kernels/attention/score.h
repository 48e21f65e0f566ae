#pragma once

// What makes a score besides the scale and the mask: soft cap, ALiBi, bias, sinks and the caller's
// own functor, on rows of the CPU kernels' tiles. Scores are in units of log 2, as those kernels
// keep them.

#include <numbers>

#include "kernels/attention/custom.h"
#include "kernels/attention/tile.h"
#include "kernels/vector_math.h"

namespace plinth::kernels::cpu::attention {

// Of one head of one problem, which start() names.
template <class T>
class Score {
 public:
  using C = compute_t<T>;

  explicit Score(const AttentionDesc& d) : d_(d), cap_(C(d.soft_cap) * kLog2E) {
    if (d.custom) custom_ = d.custom->rows<C>();
  }

  void start(const Problem& p, int64_t head) {
    at_ = {.batch = p.sample, .head = head, .q_len = p.q_len, .kv_len = p.kv_len};
    slope_ = of_head(d_.alibi_slopes, head);
    sink_ = d_.sinks ? of_head(d_.sinks, head) : -std::numeric_limits<C>::infinity();
    bias_ = static_cast<const T*>(d_.bias);
    if (bias_) bias_ += p.batch * d_.bias_strides.batch + head * d_.bias_strides.head;
  }

  // Whether a score is more than scale q . k.
  bool changes() const { return cap_ > 0 || d_.alibi_slopes || d_.bias || custom_.change; }
  // Whether its slope by x is not 1.
  bool bends() const { return cap_ > 0 || custom_.change; }
  // In units of log 2, -inf where there is none.
  C sink() const { return sink_; }

  // What the functor lets queries [first, last] see of the tile of keys at `key`.
  BlockSight sight(int64_t first, int64_t last, int64_t key) const {
    if (!d_.custom) return BlockSight::Full;
    return d_.custom->sight(pair(first, key), last, std::min(key + kKeys<C>, at_.kv_len) - 1);
  }

  // -inf for the keys that the functor hides from a query.
  void hide(int64_t query, int64_t key, KeyVectors v, C* row) const {
    const int begin = v.begin * kLanes<C>;
    custom_.hide(d_.custom->functor, pair(query, key + begin), end_of(key, v) - begin, row + begin);
  }

  // Makes scores of the scaled products of one query with vectors v of the tile of keys at `key`.
  // slopes, if not null, gets the scores' slopes by x.
  void change(int64_t query, int64_t key, KeyVectors v, C* row, C* slopes = nullptr) const {
    const int begin = v.begin * kLanes<C>, end = v.end * kLanes<C>;
    if (slopes) std::fill(slopes + begin, slopes + end, C(1));
    if (custom_.change) {
      custom_.change(d_.custom->functor, pair(query, key + begin), end_of(key, v) - begin,
                     row + begin, slopes ? slopes + begin : nullptr);
    }
    if (cap_ > 0) {
      if (slopes) {
        cap<true>(begin, end, row, slopes);
      } else {
        cap<false>(begin, end, row, nullptr);
      }
    }
    if (d_.alibi_slopes) {
      const C beside = C(query + at_.kv_len - at_.q_len - key);
#pragma omp simd
      for (int j = begin; j < end; ++j) row[j] -= slope_ * std::fabs(beside - C(j));
    }
    if (bias_) add_bias(query, key, begin, end_of(key, v), row);
  }

  // The end of a query's softmax, whose exponentials sum to `total` relative to 2^top: the sink
  // joins them, and out and lse are written from the values' `sums`.
  void finish(const Problem& p, int64_t head, int64_t query, const C* sums, C top, C total, T* out,
              C* lse) const {
    C shrink = 1;
    if (d_.sinks) {
      const C most = std::max(top, sink_);
      // Neither a key nor a sink: 2^(-inf - 0) = 0.
      const C origin = most == -std::numeric_limits<C>::infinity() ? C(0) : most;
      shrink = std::exp2(top - origin);
      total = total * shrink + std::exp2(sink_ - origin);
      top = most;
    }
    write_row(sums, total == 0 ? C(0) : shrink / total, d_.head_dim,
              row(out, d_.out, p.batch, head, p.q_begin + query));
    lse[(p.batch * d_.heads + head) * d_.q_len + p.q_begin + query] =
        (top + std::log2(total)) * std::numbers::ln2_v<C>;
  }

 private:
  static constexpr C kLog2E = std::numbers::log2e_v<C>;

  static C of_head(const void* values, int64_t head) {
    return values ? static_cast<const C*>(values)[head] * kLog2E : C(0);
  }

  AttentionPair pair(int64_t query, int64_t key) const {
    AttentionPair at = at_;
    at.query = query;
    at.key = key;
    return at;
  }
  // Where vectors v of a tile of keys end, or the keys do.
  int end_of(int64_t key, KeyVectors v) const {
    return static_cast<int>(std::min<int64_t>(v.end * kLanes<C>, at_.kv_len - key));
  }

  template <bool kSlopes>
  void cap(int begin, int end, C* row, C* slopes) const {
    const C narrowed = 1 / cap_;
#pragma omp simd
    for (int j = begin; j < end; ++j) {
      const C bent = math::tanh(row[j] * narrowed);
      row[j] = cap_ * bent;
      if (kSlopes) slopes[j] *= 1 - bent * bent;
    }
  }

  void add_bias(int64_t query, int64_t key, int begin, int end, C* row) const {
    const int64_t step = d_.bias_strides.key;
    const T* from = bias_ + query * d_.bias_strides.query + key * step;
    if (step == 1) {
#pragma omp simd
      for (int j = begin; j < end; ++j) row[j] += C(from[j]) * kLog2E;
    } else {
      for (int j = begin; j < end; ++j) row[j] += C(from[j * step]) * kLog2E;
    }
  }

  const AttentionDesc& d_;
  C cap_, slope_ = 0, sink_ = 0;
  const T* bias_ = nullptr;
  CustomRows<C> custom_;
  AttentionPair at_;  // of query 0 and key 0
};

}  // namespace plinth::kernels::cpu::attention
