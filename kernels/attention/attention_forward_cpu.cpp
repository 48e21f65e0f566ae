#include <omp.h>

#include "kernels/attention/few_queries.h"
#include "kernels/attention/tile.h"
#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu {
namespace attention {
namespace {

// Queries [begin, end) of one head of one problem.
struct Task {
  int64_t problem, head, begin, end;
};

// A row has the same bits however they are cut, so that the number of threads may count.
void list_tasks(const AttentionDesc& d, std::vector<Task>& tasks) {
  const int64_t wanted = kTasksPerThread * omp_get_max_threads();
  for (int64_t most = kTaskQueries;; most = std::max(kQueryTile, most / 2)) {
    tasks.clear();
    for (int64_t index = 0; index < problem_count(d); ++index) {
      const int64_t queries = problem_at(d, index).q_len;
      const int64_t pieces = (queries + most - 1) / most;
      const int64_t tiles = (queries + kQueryTile - 1) / kQueryTile;
      const auto cut = [&](int64_t i) {
        return std::min(queries, tiles * i / pieces * kQueryTile);
      };
      for (int64_t head = 0; head < d.heads; ++head)
        for (int64_t i = 0; i < pieces; ++i) tasks.push_back({index, head, cut(i), cut(i + 1)});
    }
    if (std::ssize(tasks) >= wanted || most == kQueryTile) return;
  }
}

// One thread's pass over the tasks given to it. Scores are kept in units of log 2: queries are
// scaled by log2(e) beforehand, so that exp becomes exp2.
template <class T>
class Forward {
 public:
  using C = compute_t<T>;

  Forward(const AttentionDesc& d, const T* q, const T* k, const T* v, T* out, C* lse)
      : d_(d),
        q_(q),
        k_(k),
        v_(v),
        out_(out),
        lse_(lse),
        score_(d),
        dropout_(d),
        padded_(padded_dim<C>(d)) {}

  void run(const Task& task) {
    p_ = problem_at(d_, task.problem);
    head_ = task.head;
    score_.start(p_, head_);
    pack_keys(visible_keys(d_, p_, task.begin, task.end - 1));
    for (int64_t i = task.begin; i < task.end; i += kQueryTile)
      query_tile(i, std::min(task.end, i + kQueryTile));
  }

 private:
  // Transposed tiles of k and rows of v, for tiles of keys that start at multiples of kKeys.
  void pack_keys(Range keys) {
    keys_ = {keys.begin / kKeys<C> * kKeys<C>, keys.end};
    if (keys_.empty()) return;
    static thread_local Scratch k_scratch, v_scratch;
    const int64_t tiles = (keys_.end - keys_.begin + kKeys<C> - 1) / kKeys<C>;
    k_tiles_ = k_scratch.get<C>(tiles * d_.head_dim * kKeys<C>);
    v_rows_ = v_scratch.get<C>((keeps_values() ? 1 : tiles) * kKeys<C> * padded_);
    for (int64_t t = 0; t < tiles; ++t) pack_tile(t);
  }

  void pack_tile(int64_t t) {
    const int64_t count = keys_in(t);
    static thread_local Scratch row_scratch;
    const Rows<C> k = whole_rows(keys_of(k_, d_.k, t), d_.k.seq, count, d_.head_dim, padded_,
                                 row_scratch.get<C>(kKeys<C> * padded_));
    transpose_keys(k.first, count, d_.head_dim, k.stride, k_tiles_ + t * d_.head_dim * kKeys<C>);
    if (keeps_values() && count == kKeys<C>) return;
    C* const v = packed_values(t);
    copy_rows(keys_of(v_, d_.v, t), d_.v.seq, count, d_.head_dim, padded_, C(1), v);
    std::fill(v + count * padded_, v + kKeys<C> * padded_, C(0));
  }

  // Whether values are read where they lie: rows of whole vectors, one after the other. A tile that
  // is not whole is packed all the same.
  bool keeps_values() const {
    return is_wide<T> && d_.head_dim == padded_ && d_.v.seq == d_.head_dim;
  }
  C* packed_values(int64_t t) const {
    return v_rows_ + (keeps_values() ? 0 : t * kKeys<C> * padded_);
  }
  // The values of tile t from one of its keys on; rows are padded_ apart.
  const C* values(int64_t t, int64_t key) const {
    if constexpr (is_wide<T>) {
      if (keeps_values() && keys_in(t) == kKeys<C>) return keys_of(v_, d_.v, t) + key * padded_;
    }
    return packed_values(t) + key * padded_;
  }
  int64_t keys_in(int64_t t) const {
    return std::min<int64_t>(kKeys<C>, keys_.end - keys_.begin - t * kKeys<C>);
  }
  const T* keys_of(const T* from, const AttentionDesc::Strides& strides, int64_t t) const {
    return row(from, strides, p_.batch, head_ / (d_.heads / d_.kv_heads),
               p_.k_begin + keys_.begin + t * kKeys<C>);
  }

  void query_tile(int64_t begin, int64_t end) {
    static thread_local Scratch q_scratch, out_scratch;
    const int64_t padded_rows = (end - begin + kGroup - 1) / kGroup * kGroup;
    q_rows_ = q_scratch.get<C>(kQueryTile * padded_);
    sums_ = out_scratch.get<C>(kQueryTile * padded_);
    copy_rows(row(q_, d_.q, p_.batch, head_, p_.q_begin + begin), d_.q.seq, end - begin,
              d_.head_dim, padded_, C(d_.scale) * std::numbers::log2e_v<C>, q_rows_);
    std::fill(q_rows_ + (end - begin) * padded_, q_rows_ + padded_rows * padded_, C(0));
    std::fill(sums_, sums_ + padded_rows * padded_, C(0));
    std::fill(rows_, rows_ + kQueryTile, RowState{});
    std::fill(total_, total_ + kQueryTile, Vec<C>{});

    const Range keys = visible_keys(d_, p_, begin, end - 1);
    for (int64_t key = keys.begin / kKeys<C> * kKeys<C>; key < keys.end; key += kKeys<C>) {
      for (int64_t i = begin; i < end; i += kGroup)
        group(begin, i, std::min<int64_t>(end, i + kGroup), key);
    }
    for (int64_t r = 0; r < end - begin; ++r)
      score_.finish(p_, head_, begin + r, sums_ + r * padded_, rows_[r].top(),
                    sum_lanes<C>(total_[r]), out_, lse_);
  }

  // Adds one tile of keys to queries [i, end) of the tile that begins at `tile_begin`.
  void group(int64_t tile_begin, int64_t i, int64_t end, int64_t key) {
    const KeyVectors v = visible_vectors<C>(d_, p_, i, end - 1, key);
    const BlockSight sight = score_.sight(i, end - 1, key);
    if (v.begin >= v.end || sight == BlockSight::Empty) return;
    alignas(kVectorBytes) C tile[kGroup * kKeys<C>];
    const int64_t r = i - tile_begin, t = (key - keys_.begin) / kKeys<C>;
    group_scores(q_rows_ + r * padded_, padded_, k_tiles_ + t * d_.head_dim * kKeys<C>, d_.head_dim,
                 v, tile);
    if (score_.changes()) {
      for (int64_t x = i; x < end; ++x) score_.change(x, key, v, tile + (x - i) * kKeys<C>);
    }
    if (v.partial) {
      for (int64_t x = i; x < end; ++x)
        mask_row(tile + (x - i) * kKeys<C>, v, key, visible_keys(d_, p_, x),
                 -std::numeric_limits<C>::infinity());
    }
    if (sight == BlockSight::Partial) {
      for (int64_t x = i; x < end; ++x) score_.hide(x, key, v, tile + (x - i) * kKeys<C>);
    }
    with_rows<kKeyVectors>(v.end - v.begin,
                           [&](auto n) { soften<n()>(tile + v.begin * kLanes<C>, r); });
    if (dropout_.active()) drop(i, end, key, tile);

    const int first = v.begin * kLanes<C>, count = (v.end - v.begin) * kLanes<C>;
    const C* const from = values(t, first);
    for (int64_t x = 0; x < padded_; x += kStrip * kLanes<C>) {
      const int vectors = std::min<int64_t>(kStrip, (padded_ - x) / kLanes<C>);
      with_rows<kStrip>(vectors, [&](auto n) {
        add_values<n()>(tile + first, count, from + x, sums_ + r * padded_ + x);
      });
    }
  }

  // The online softmax: scores become exp2(score - origin) for the row's largest score when that
  // last grew by more than kSlack, which spares most tiles the scaling of earlier sums. So no row
  // needs its own largest score unless one of the group passes its limit.
  template <int N>
  [[gnu::noinline]] void soften(C* tile, int64_t r) {
    if (excess<N>(tile, r) > 0) [[unlikely]]
      raise_origins<N>(tile, r);
    for (int i = 0; i < kGroup; ++i) {
      C* scores = tile + i * kKeys<C>;
      const C origin = rows_[r + i].origin;
      Vec<C> sum{};
#pragma GCC unroll 8
      for (int x = 0; x < N; ++x) {
        const Vec<C> weights = exp2_vector(load(scores + x * kLanes<C>) - origin);
        sum += weights;
        store(scores + x * kLanes<C>, weights);
      }
      total_[r + i] += sum;
    }
  }

  template <int N>
  [[gnu::always_inline]] static Vec<C> largest_of(const C* scores) {
    Vec<C> most = load(scores);
#pragma GCC unroll 8
    for (int x = 1; x < N; ++x) most = larger<C>(most, load(scores + x * kLanes<C>));
    return most;
  }

  // By how much a score of the group passes its row's limit, at most. NaN, which `larger` drops as
  // its first argument, hides no other row's.
  template <int N>
  [[gnu::always_inline]] C excess(const C* tile, int64_t r) const {
    Vec<C> most{};
#pragma GCC unroll 6
    for (int i = 0; i < kGroup; ++i)
      most = larger<C>(largest_of<N>(tile + i * kKeys<C>) - rows_[r + i].limit, most);
    return largest_by_halves<C>(most);
  }

  template <int N>
  [[gnu::noinline]] void raise_origins(const C* tile, int64_t r) {
    for (int i = 0; i < kGroup; ++i) {
      const C top = largest_by_halves<C>(largest_of<N>(tile + i * kKeys<C>));
      if (top > rows_[r + i].limit) raise_origin(r + i, top);
    }
  }

  void raise_origin(int64_t r, C top) {
    RowState& state = rows_[r];
    if (state.seen()) {
      const C shrink = std::exp2(state.origin - top);
      total_[r] *= shrink;
      C* const sums = sums_ + r * padded_;
      for (int64_t x = 0; x < padded_; ++x) sums[x] *= shrink;
    }
    state = {top, top + kSlack};
  }

  void drop(int64_t i, int64_t end, int64_t key, C* tile) const {
    alignas(kVectorBytes) C factors[kKeys<C>];
    for (int64_t x = i; x < end; ++x, tile += kKeys<C>) {
      dropout_.factors(p_, head_, x, key, factors);
      for (int j = 0; j < kKeys<C>; ++j) tile[j] *= factors[j];
    }
  }

  template <int N>
  [[gnu::noinline]] void add_values(const C* weights, int64_t keys, const C* values,
                                    C* sums) const {
    RegisterTile<Scalars<C>, kGroup, N> tile;
    tile.read(sums, padded_);
    tile.multiply(keys, weights, kKeys<C>, 1, values, padded_);
    tile.write(sums, padded_);
  }

  // What a row's weights are relative to, in units of log 2.
  struct RowState {
    C origin = 0;
    C limit = -std::numeric_limits<C>::infinity();  // the largest score that leaves it as it is
    bool seen() const { return limit != -std::numeric_limits<C>::infinity(); }
    C top() const { return seen() ? origin : limit; }
  };
  static constexpr C kSlack = 8;

  const AttentionDesc& d_;
  const T *q_, *k_, *v_;
  T* out_;
  C* lse_;
  Score<T> score_;
  Dropout dropout_;
  int64_t padded_;

  Problem p_;
  int64_t head_ = 0;
  Range keys_;  // those packed
  C *k_tiles_ = nullptr, *v_rows_ = nullptr, *q_rows_ = nullptr, *sums_ = nullptr;
  RowState rows_[kQueryTile];
  Vec<C> total_[kQueryTile];  // lanes are added at the end
};

}  // namespace
}  // namespace attention

template <class T>
void attention_forward(const AttentionDesc& d, const T* q, const T* k, const T* v, T* out,
                       compute_t<T>* lse) {
  using namespace attention;
  if (has_few_queries(d)) return few_queries_forward(d, q, k, v, out, lse);
  static thread_local std::vector<Task> tasks;
  list_tasks(d, tasks);
  const std::vector<Task>& list = tasks;  // the caller's, in every thread
  parallel_for(static_cast<int64_t>(list.size()), 1, [&](int64_t begin, int64_t end) {
    Forward<T> forward(d, q, k, v, out, lse);
    for (int64_t t = begin; t < end; ++t) forward.run(list[t]);
  });
}

#define PLINTH_INSTANTIATE(T)                                                             \
  template void attention_forward(const AttentionDesc&, const T*, const T*, const T*, T*, \
                                  compute_t<T>*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
