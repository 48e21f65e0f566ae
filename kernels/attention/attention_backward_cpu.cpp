#include <numbers>

#include "kernels/attention/tile.h"
#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu {
namespace attention {
namespace {

// One thread's pass over key/value heads. A tile of kQueryTile queries by kKeys keys is recomputed
// from q, k and lse; its p and ds, in two small buffers, then give their terms of dq, dk and dv. As
// in the forward pass scores are in units of log 2, queries being scaled by scale log2(e).
template <class T>
class Backward {
 public:
  using C = compute_t<T>;

  struct Inputs {
    const T *dout, *q, *k, *v, *out;
    const C* lse;
  };
  struct Outputs {
    T *dq, *dk, *dv;
  };

  Backward(const AttentionDesc& d, const Inputs& in, const Outputs& out)
      : d_(d), in_(in), out_(out), dropout_(d), padded_(padded_dim<C>(d)) {}

  // All gradients of one key/value head and of the query heads that share it.
  void run(const Problem& p, int64_t kv_head) {
    p_ = p;
    kv_head_ = kv_head;
    reserve();
    const int64_t group = d_.heads / d_.kv_heads;
    for (head_ = kv_head * group; head_ < (kv_head + 1) * group; ++head_) {
      read_queries();
      for (int64_t key = 0; key < p_.kv_visible; key += kKeys<C>) key_tile(key);
      write_dq();
    }
    write_keys(dk_, d_.dk, out_.dk, std::numbers::ln2_v<C>);  // undoes log2(e) in the queries
    write_keys(dv_, d_.dv, out_.dv, C(1));
  }

 private:
  void reserve() {
    static thread_local Scratch scratch;
    const int64_t queries = (p_.q_len + kGroup) * padded_;
    const int64_t keys = (p_.kv_len + kKeys<C> - 1) / kKeys<C> * kKeys<C> * padded_;
    const int64_t tile = kKeys<C> * padded_, square = (kQueryTile + kGroup) * kKeys<C>;
    const int64_t rows = (p_.q_len + kGroup + kLanes<C>) / kLanes<C> * kLanes<C>;
    C* next = scratch.get<C>(3 * queries + 2 * keys + 4 * tile + 2 * square + 2 * rows);
    const auto take = [&](int64_t count) { return std::exchange(next, next + count); };
    q_ = take(queries);
    dout_ = take(queries);
    dq_ = take(queries);
    dk_ = take(keys);
    dv_ = take(keys);
    k_ = take(tile);
    v_ = take(tile);
    k_columns_ = take(tile);
    v_columns_ = take(tile);
    weights_ = take(square);
    slopes_ = take(square);
    lse_ = take(rows);
    delta_ = take(rows);
    std::fill(dk_, dk_ + keys, C(0));
    std::fill(dv_, dv_ + keys, C(0));
  }

  // The head's q and dout, and of each query lse in units of log 2 and delta = dout . out. Rows
  // that pad the last group, and queries that see no key, get lse = inf, so that their p is 0.
  void read_queries() {
    const int64_t n = p_.q_len, pad = kGroup * padded_;
    copy_rows(row(in_.q, d_.q, p_.batch, head_, p_.q_begin), d_.q.seq, n, d_.head_dim, padded_,
              C(d_.scale) * std::numbers::log2e_v<C>, q_);
    copy_rows(row(in_.dout, d_.dout, p_.batch, head_, p_.q_begin), d_.dout.seq, n, d_.head_dim,
              padded_, C(1), dout_);
    std::fill(q_ + n * padded_, q_ + n * padded_ + pad, C(0));
    std::fill(dout_ + n * padded_, dout_ + n * padded_ + pad, C(0));
    std::fill(dq_, dq_ + n * padded_ + pad, C(0));
    std::fill(lse_ + n, lse_ + n + kGroup, std::numeric_limits<C>::infinity());
    std::fill(delta_ + n, delta_ + n + kGroup, C(0));
    const C* lse = in_.lse + (p_.batch * d_.heads + head_) * d_.q_len + p_.q_begin;
    for (int64_t i = 0; i < n; ++i) {
      lse_[i] = lse[i] == -std::numeric_limits<C>::infinity() ? std::numeric_limits<C>::infinity()
                                                              : lse[i] * std::numbers::log2e_v<C>;
      copy_rows(row(in_.out, d_.out, p_.batch, head_, p_.q_begin + i), 0, 1, d_.head_dim, padded_,
                C(1), k_);
      Vec<C> sum{};
      for (int64_t x = 0; x < padded_; x += kLanes<C>)
        sum += load(k_ + x) * load(dout_ + i * padded_ + x);
      delta_[i] = sum_lanes<C>(sum);
    }
  }

  void key_tile(int64_t key) {
    const Range queries = seeing_queries(key, std::min(p_.kv_visible, key + kKeys<C>) - 1);
    if (queries.empty()) return;
    const int64_t count = std::min<int64_t>(kKeys<C>, p_.kv_visible - key);
    copy_rows(row(in_.k, d_.k, p_.batch, kv_head_, p_.k_begin + key), d_.k.seq, count, d_.head_dim,
              padded_, C(1), k_);
    copy_rows(row(in_.v, d_.v, p_.batch, kv_head_, p_.k_begin + key), d_.v.seq, count, d_.head_dim,
              padded_, C(1), v_);
    std::fill(k_ + count * padded_, k_ + kKeys<C> * padded_, C(0));
    transpose_keys(k_, count, d_.head_dim, padded_, k_columns_);
    transpose_keys(v_, count, d_.head_dim, padded_, v_columns_);
    for (int64_t i = queries.begin / kQueryTile * kQueryTile; i < queries.end; i += kQueryTile)
      query_tile(key, i, std::min(p_.q_len, i + kQueryTile));
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

  void query_tile(int64_t key, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kGroup)
      group(key, i, std::min<int64_t>(end, i + kGroup), (i - begin) * kKeys<C>);
    constexpr int kRest = kKeys<C> % kGroup;
    for (int64_t j = 0; j < kKeys<C> - kRest; j += kGroup) add_keys<kGroup>(key, j, begin, end);
    if constexpr (kRest > 0) add_keys<kRest>(key, kKeys<C> - kRest, begin, end);
  }

  // p and ds of queries [i, end) in rows of the two buffers from `at`, and their term of dq.
  void group(int64_t key, int64_t i, int64_t end, int64_t at) {
    C *weights = weights_ + at, *slopes = slopes_ + at;
    const KeyVectors v = visible_vectors<C>(d_, p_, i, end - 1, key);
    if (v.end - v.begin < kKeyVectors) {
      std::fill(weights, weights + kGroup * kKeys<C>, C(0));
      std::fill(slopes, slopes + kGroup * kKeys<C>, C(0));
    }
    if (v.begin >= v.end) return;
    group_scores(q_ + i * padded_, padded_, k_columns_, d_.head_dim, v, weights);
    group_scores(dout_ + i * padded_, padded_, v_columns_, d_.head_dim, v, slopes);
    if (v.partial) {
      for (int64_t x = i; x < end; ++x)
        mask_row(weights + (x - i) * kKeys<C>, v, key, visible_keys(d_, p_, x),
                 -std::numeric_limits<C>::infinity());
    }
    if (dropout_.active()) {
      differentiate<true>(v, key, i, weights, slopes);
    } else {
      differentiate<false>(v, key, i, weights, slopes);
    }
    const int first = v.begin * kLanes<C>, count = (v.end - v.begin) * kLanes<C>;
    for_columns([&](int64_t x, auto n) {
      add_product<kGroup, n()>(count, slopes + first, kKeys<C>, 1, k_ + first * padded_ + x,
                               dq_ + i * padded_ + x);
    });
  }

  // Scores become p (times dropout's factor), products dout . v become ds.
  template <bool Dropped>
  void differentiate(KeyVectors v, int64_t key, int64_t i, C* weights, C* slopes) const {
    alignas(kVectorBytes) C factors[kKeys<C>];
    for (int r = 0; r < kGroup; ++r, weights += kKeys<C>, slopes += kKeys<C>) {
      if (Dropped) dropout_.factors(p_, head_, i + r, key, factors);
      for (int x = v.begin * kLanes<C>; x < v.end * kLanes<C>; x += kLanes<C>) {
        const Vec<C> weight = exp2_vector(load(weights + x) - lse_[i + r]);
        Vec<C> slope = load(slopes + x), kept = weight;
        if (Dropped) {
          slope *= load(factors + x);
          kept *= load(factors + x);
        }
        store(weights + x, kept);
        store(slopes + x, weight * (slope - delta_[i + r]));
      }
    }
  }

  // The terms of dk and dv of R keys, number j of the tile on, from the tile's queries.
  template <int R>
  void add_keys(int64_t key, int64_t j, int64_t begin, int64_t end) {
    if (key + j >= p_.kv_visible) return;
    const Range seeing = seeing_queries(key + j, key + j + R - 1);
    const int64_t first = std::max(begin, seeing.begin), count = std::min(end, seeing.end) - first;
    if (count <= 0) return;
    const int64_t at = (first - begin) * kKeys<C> + j;
    for_columns([&](int64_t x, auto n) {
      add_product<R, n()>(count, weights_ + at, 1, kKeys<C>, dout_ + first * padded_ + x,
                          dv_ + (key + j) * padded_ + x);
      add_product<R, n()>(count, slopes_ + at, 1, kKeys<C>, q_ + first * padded_ + x,
                          dk_ + (key + j) * padded_ + x);
    });
  }

  // body(first column, vectors) over the padded head_dim, in strips of at most kKeyVectors vectors.
  template <class Body>
  void for_columns(Body&& body) const {
    for (int64_t x = 0; x < padded_; x += kKeyVectors * kLanes<C>) {
      const int vectors = std::min<int64_t>(kKeyVectors, (padded_ - x) / kLanes<C>);
      with_rows<kKeyVectors>(vectors, [&](auto n) { body(x, n); });
    }
  }

  template <int R, int N>
  [[gnu::noinline]] void add_product(int64_t terms, const C* a, int64_t a_row, int64_t a_column,
                                     const C* b, C* sums) const {
    RegisterTile<Scalars<C>, R, N> tile;
    tile.read(sums, padded_);
    tile.multiply(terms, a, a_row, a_column, b, padded_);
    tile.write(sums, padded_);
  }

  void write_dq() const {
    for (int64_t i = 0; i < p_.q_len; ++i)
      write_row(dq_ + i * padded_, C(d_.scale), d_.head_dim,
                row(out_.dq, d_.dq, p_.batch, head_, p_.q_begin + i));
  }

  void write_keys(const C* sums, const AttentionDesc::Strides& strides, T* to, C factor) const {
    for (int64_t j = 0; j < p_.kv_len; ++j)
      write_row(sums + j * padded_, factor, d_.head_dim,
                row(to, strides, p_.batch, kv_head_, p_.k_begin + j));
  }

  const AttentionDesc& d_;
  Inputs in_;
  Outputs out_;
  Dropout dropout_;
  int64_t padded_;

  Problem p_;
  int64_t kv_head_ = 0, head_ = 0;
  C *q_, *dout_, *dq_, *lse_, *delta_;   // of the query head
  C *dk_, *dv_;                          // of the key/value head
  C *k_, *v_, *k_columns_, *v_columns_;  // of the tile of keys
  C *weights_, *slopes_;                 // [kQueryTile][kKeys]: p and ds
};

}  // namespace
}  // namespace attention

template <class T>
void attention_backward(const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
                        const T* out, const compute_t<T>* lse, T* dq, T* dk, T* dv) {
  using namespace attention;
  parallel_for(problem_count(d) * d.kv_heads, 1, [&](int64_t begin, int64_t end) {
    Backward<T> backward(d, {dout, q, k, v, out, lse}, {dq, dk, dv});
    for (int64_t t = begin; t < end; ++t)
      backward.run(problem_at(d, t / d.kv_heads), t % d.kv_heads);
  });
}

#define PLINTH_INSTANTIATE(T)                                                                    \
  template void attention_backward(const AttentionDesc&, const T*, const T*, const T*, const T*, \
                                   const T*, const compute_t<T>*, T*, T*, T*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
