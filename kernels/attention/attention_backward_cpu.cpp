#include "kernels/attention/bias_gradient.h"
#include "kernels/attention/gradient_tile.h"
#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu {
namespace attention {
namespace {

// One thread's pass over key/value heads. p and dx of a tile of kQueryTile queries by kKeys keys,
// in two small buffers, give their terms of dq, dk and dv.
template <class T>
class Backward {
 public:
  using C = compute_t<T>;

  struct Outputs {
    T *dq, *dk, *dv;
  };

  Backward(const AttentionDesc& d, const GradientInputs<T>& in, const Outputs& out)
      : d_(d), out_(out), tile_(d, in), padded_(tile_.padded()) {}

  // All gradients of one key/value head and of the query heads that share it. Adds to the sums of a
  // part of dbias, if there are any.
  void run(const Problem& p, int64_t kv_head, const BiasParts<T>& bias, int64_t part) {
    p_ = p;
    kv_head_ = kv_head;
    reserve();
    const int64_t group = d_.heads / d_.kv_heads;
    for (head_ = kv_head * group; head_ < (kv_head + 1) * group; ++head_) {
      tile_.start(p_, head_);
      bias_sums_ = bias.count() ? bias.sums(part, head_) : nullptr;
      bias_stride_ = bias.stride();
      tile_.read_queries(0, p_.q_len, queries_, keys_.k);
      std::fill(dq_, dq_ + (p_.q_len + kGroup) * padded_, C(0));
      for (int64_t key = 0; key < p_.kv_visible; key += kKeys<C>) key_tile(key);
      write_dq();
    }
    write_keys(dk_, d_.dk, out_.dk, std::numbers::ln2_v<C>);  // undoes log2(e) in the queries
    write_keys(dv_, d_.dv, out_.dv, C(1));
  }

  // The sums of dbias that run() adds to.
  void clear(const BiasParts<T>& bias, int64_t part, int64_t kv_head) const {
    const int64_t group = d_.heads / d_.kv_heads;
    std::fill_n(bias.sums(part, kv_head * group), group * d_.q_len * bias.stride(), C(0));
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
    queries_ = {take(queries), take(queries), take(rows), take(rows)};
    dq_ = take(queries);
    dk_ = take(keys);
    dv_ = take(keys);
    keys_ = {take(tile), take(tile), take(tile), take(tile)};
    weights_ = take(square);
    slopes_ = take(square);
    std::fill(dk_, dk_ + keys, C(0));
    std::fill(dv_, dv_ + keys, C(0));
  }

  void key_tile(int64_t key) {
    const Range queries = tile_.seeing_queries(key, std::min(p_.kv_visible, key + kKeys<C>) - 1);
    if (queries.empty()) return;
    tile_.read_keys(key, keys_);
    for (int64_t i = queries.begin / kQueryTile * kQueryTile; i < queries.end; i += kQueryTile)
      query_tile(key, i, std::min(p_.q_len, i + kQueryTile));
  }

  void query_tile(int64_t key, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kGroup)
      group(key, i, std::min<int64_t>(end, i + kGroup), (i - begin) * kKeys<C>);
    constexpr int kRest = kKeys<C> % kGroup;
    for (int64_t j = 0; j < kKeys<C> - kRest; j += kGroup) add_keys<kGroup>(key, j, begin, end);
    if constexpr (kRest > 0) add_keys<kRest>(key, kKeys<C> - kRest, begin, end);
  }

  // p and dx of queries [i, end) in rows of the two buffers from `at`, and their term of dq.
  void group(int64_t key, int64_t i, int64_t end, int64_t at) {
    C *weights = weights_ + at, *slopes = slopes_ + at;
    const KeyVectors v =
        tile_.template group<true>(queries_, i, i, end, key, keys_, weights, slopes);
    zero_columns(weights, v);
    zero_columns(slopes, v);
    if (v.begin >= v.end) return;
    const int first = v.begin * kLanes<C>, count = (v.end - v.begin) * kLanes<C>;
    if (bias_sums_)
      add_to_bias(bias_sums_ + i * bias_stride_ + key + first, end - i, count, slopes + first);
    for_columns([&](int64_t x, auto n) {
      add_product<kGroup, n()>(count, slopes + first, kKeys<C>, 1, keys_.k + first * padded_ + x,
                               dq_ + i * padded_ + x);
    });
  }

  void add_to_bias(C* sums, int64_t rows, int count, const C* slopes) const {
    for (int64_t r = 0; r < rows; ++r, sums += bias_stride_, slopes += kKeys<C>)
      for (int j = 0; j < count; j += kLanes<C>) store(sums + j, load(sums + j) + load(slopes + j));
  }

  // Zeros in a group's tile outside vectors v.
  static void zero_columns(C* tile, KeyVectors v) {
    if (v.end - v.begin == kKeyVectors) return;
    for (int r = 0; r < kGroup; ++r, tile += kKeys<C>) {
      std::fill(tile, tile + v.begin * kLanes<C>, C(0));
      std::fill(tile + v.end * kLanes<C>, tile + kKeys<C>, C(0));
    }
  }

  // The terms of dk and dv of R keys, number j of the tile on, from the tile's queries.
  template <int R>
  void add_keys(int64_t key, int64_t j, int64_t begin, int64_t end) {
    if (key + j >= p_.kv_visible) return;
    const Range seeing = tile_.seeing_queries(key + j, key + j + R - 1);
    const int64_t first = std::max(begin, seeing.begin), count = std::min(end, seeing.end) - first;
    if (count <= 0) return;
    const int64_t at = (first - begin) * kKeys<C> + j;
    for_columns([&](int64_t x, auto n) {
      add_product<R, n()>(count, weights_ + at, 1, kKeys<C>, queries_.dout + first * padded_ + x,
                          dv_ + (key + j) * padded_ + x);
      add_product<R, n()>(count, slopes_ + at, 1, kKeys<C>, queries_.q + first * padded_ + x,
                          dk_ + (key + j) * padded_ + x);
    });
  }

  // body(first column, vectors) over the padded head_dim, in strips of at most kStrip vectors.
  template <class Body>
  void for_columns(Body&& body) const {
    for (int64_t x = 0; x < padded_; x += kStrip * kLanes<C>) {
      const int vectors = std::min<int64_t>(kStrip, (padded_ - x) / kLanes<C>);
      with_rows<kStrip>(vectors, [&](auto n) { body(x, n); });
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
  Outputs out_;
  GradientTile<T> tile_;
  int64_t padded_;

  Problem p_;
  int64_t kv_head_ = 0, head_ = 0;
  QueryRows<C> queries_;             // of the query head
  C* dq_ = nullptr;                  // of the query head
  C *dk_ = nullptr, *dv_ = nullptr;  // of the key/value head
  KeyTile<C> keys_;
  C *weights_ = nullptr, *slopes_ = nullptr;  // [kQueryTile][kKeys]: p and dx
  C* bias_sums_ = nullptr;                    // of the query head
  int64_t bias_stride_ = 0;
};

}  // namespace
}  // namespace attention

template <class T>
void attention_backward(const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
                        const T* out, const compute_t<T>* lse, T* dq, T* dk, T* dv) {
  using namespace attention;
  const GradientInputs<T> in{dout, q, k, v, out, lse};
  const BiasParts<T> bias(d, Score<T>(d).bends());
  // A task is a key/value head of a problem, or of all problems whose dbias is one part.
  const int64_t pieces = bias.count() ? bias.count() : problem_count(d);
  parallel_for(pieces * d.kv_heads, 1, [&](int64_t begin, int64_t end) {
    Backward<T> backward(d, in, {dq, dk, dv});
    for (int64_t t = begin; t < end; ++t) {
      const int64_t piece = t / d.kv_heads, kv_head = t % d.kv_heads;
      if (bias.count() == 0) {
        backward.run(problem_at(d, piece), kv_head, bias, 0);
        continue;
      }
      backward.clear(bias, piece, kv_head);
      const Range batches = bias.batches(piece);
      for (int64_t b = batches.begin; b < batches.end; ++b)
        backward.run(problem_at(d, b), kv_head, bias, piece);
    }
  });
  if (bias.count()) {
    bias.join();
  } else if (d.dbias) {
    bias_gradient(d, in);
  }
  if (d.dsinks) sink_gradient(d, in);
}

#define PLINTH_INSTANTIATE(T)                                                                    \
  template void attention_backward(const AttentionDesc&, const T*, const T*, const T*, const T*, \
                                   const T*, const compute_t<T>*, T*, T*, T*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
