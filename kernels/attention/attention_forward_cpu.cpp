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

void list_tasks(const AttentionDesc& d, std::vector<Task>& tasks) {
  int64_t size = kTaskQueries;
  for (;; size = std::max(kQueryTile, size / 2 / kQueryTile * kQueryTile)) {
    tasks.clear();
    for (int64_t index = 0; index < problem_count(d); ++index) {
      const int64_t queries = problem_at(d, index).q_len;
      for (int64_t head = 0; head < d.heads; ++head)
        for (int64_t i = 0; i < queries; i += size)
          tasks.push_back({index, head, i, std::min(queries, i + size)});
    }
    if (static_cast<int64_t>(tasks.size()) >= kMinTasks || size == kQueryTile) return;
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
    static thread_local Scratch k_scratch, v_scratch, row_scratch;
    const int64_t tiles = (keys_.end - keys_.begin + kKeys<C> - 1) / kKeys<C>;
    k_tiles_ = k_scratch.get<C>(tiles * d_.head_dim * kKeys<C>);
    v_rows_ = v_scratch.get<C>(tiles * kKeys<C> * padded_);
    C* rows = row_scratch.get<C>(kKeys<C> * padded_);
    const int64_t kv_head = head_ / (d_.heads / d_.kv_heads);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t key = keys_.begin + t * kKeys<C>;
      const int64_t count = std::min<int64_t>(kKeys<C>, keys_.end - key);
      copy_rows(row(k_, d_.k, p_.batch, kv_head, p_.k_begin + key), d_.k.seq, count, d_.head_dim,
                padded_, C(1), rows);
      transpose_keys(rows, count, d_.head_dim, padded_, k_tiles_ + t * d_.head_dim * kKeys<C>);
      C* v_tile = v_rows_ + t * kKeys<C> * padded_;
      copy_rows(row(v_, d_.v, p_.batch, kv_head, p_.k_begin + key), d_.v.seq, count, d_.head_dim,
                padded_, C(1), v_tile);
      std::fill(v_tile + count * padded_, v_tile + kKeys<C> * padded_, C(0));
    }
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
    std::fill(top_, top_ + kQueryTile, -std::numeric_limits<C>::infinity());
    std::fill(total_, total_ + kQueryTile, Vec<C>{});

    const Range keys = visible_keys(d_, p_, begin, end - 1);
    for (int64_t key = keys.begin / kKeys<C> * kKeys<C>; key < keys.end; key += kKeys<C>) {
      for (int64_t i = begin; i < end; i += kGroup)
        group(begin, i, std::min<int64_t>(end, i + kGroup), key);
    }
    for (int64_t r = 0; r < end - begin; ++r)
      score_.finish(p_, head_, begin + r, sums_ + r * padded_, top_[r], sum_lanes<C>(total_[r]),
                    out_, lse_);
  }

  // Adds one tile of keys to queries [i, end) of the tile that begins at `tile_begin`.
  void group(int64_t tile_begin, int64_t i, int64_t end, int64_t key) {
    const KeyVectors v = visible_vectors<C>(d_, p_, i, end - 1, key);
    const BlockSight sight = score_.sight(i, end - 1, key);
    if (v.begin >= v.end || sight == BlockSight::Empty) return;
    alignas(kVectorBytes) C tile[kGroup * kKeys<C>];
    alignas(kVectorBytes) C decay[kGroup];
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
                           [&](auto n) { soften<n()>(tile + v.begin * kLanes<C>, r, decay); });
    if (dropout_.active()) drop(i, end, key, tile);

    const int first = v.begin * kLanes<C>, count = (v.end - v.begin) * kLanes<C>;
    const C* values = v_rows_ + (t * kKeys<C> + first) * padded_;
    for (int64_t x = 0; x < padded_; x += kStrip * kLanes<C>) {
      const int vectors = std::min<int64_t>(kStrip, (padded_ - x) / kLanes<C>);
      with_rows<kStrip>(vectors, [&](auto n) {
        add_values<n()>(tile + first, count, values + x, decay, sums_ + r * padded_ + x);
      });
    }
  }

  // The online softmax: scores become exp2(score - top) for the row's largest score so far, and
  // `decay` is by how much earlier sums shrink.
  template <int N>
  [[gnu::noinline]] void soften(C* tile, int64_t r, C* decay) {
    for (int i = 0; i < kGroup; ++i) {
      C* scores = tile + i * kKeys<C>;
      Vec<C> s[N];
      Vec<C> most = s[0] = load(scores);
#pragma GCC unroll 4
      for (int x = 1; x < N; ++x) {
        s[x] = load(scores + x * kLanes<C>);
        most = larger<C>(most, s[x]);
      }
      const C old_top = top_[r + i];
      const C top = std::max(old_top, largest_lane<C>(most));
      // A row that has seen no key yet keeps exp2(-inf - 0) = 0.
      const C origin = top == -std::numeric_limits<C>::infinity() ? C(0) : top;
      Vec<C> sum{};
#pragma GCC unroll 4
      for (int x = 0; x < N; ++x) {
        s[x] = exp2_vector(s[x] - origin);
        sum += s[x];
        store(scores + x * kLanes<C>, s[x]);
      }
      const Vec<C> shrink = exp2_vector(broadcast(old_top - origin));
      total_[r + i] = total_[r + i] * shrink + sum;
      top_[r + i] = top;
      decay[i] = shrink[0];
    }
  }

  void drop(int64_t i, int64_t end, int64_t key, C* tile) const {
    alignas(kVectorBytes) C factors[kKeys<C>];
    for (int64_t x = i; x < end; ++x, tile += kKeys<C>) {
      dropout_.factors(p_, head_, x, key, factors);
      for (int j = 0; j < kKeys<C>; ++j) tile[j] *= factors[j];
    }
  }

  template <int N>
  [[gnu::noinline]] void add_values(const C* weights, int64_t keys, const C* values, const C* decay,
                                    C* sums) const {
    RegisterTile<Scalars<C>, kGroup, N> tile;
#pragma GCC unroll 8
    for (int i = 0; i < kGroup; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j)
        tile.sum[i][j] = load(sums + i * padded_ + j * kLanes<C>) * decay[i];
    tile.multiply(keys, weights, kKeys<C>, 1, values, padded_);
    tile.write(sums, padded_);
  }

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
  C top_[kQueryTile];
  Vec<C> total_[kQueryTile];  // lanes are added at the end
};

}  // namespace
}  // namespace attention

template <class T>
void attention_forward(const AttentionDesc& d, const T* q, const T* k, const T* v, T* out,
                       compute_t<T>* lse) {
  using namespace attention;
  if (d.q_len <= kFewQueries) return few_queries_forward(d, q, k, v, out, lse);
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
