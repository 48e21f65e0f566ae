#include "kernels/attention/bias_gradient.h"

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu::attention {
namespace {

// At most so many parts, and so many bytes of all: enough tasks for many threads.
constexpr int64_t kMostParts = 8, kMostPartBytes = int64_t{1} << 26;
// With fewer tasks than this the pass of its own has more to share among threads.
constexpr int64_t kLeastTasks = 16;

// Pieces of one dimension of dbias: one of the whole where bias is broadcast along it, else of at
// most `size`.
struct Cut {
  int64_t length, size, count;

  Cut(int64_t dim, int64_t stride, int64_t piece)
      : length(dim), size(stride == 0 ? dim : piece), count(stride == 0 ? 1 : ceil(dim, piece)) {}
  Range piece(int64_t number) const {
    return {number * size, std::min(length, (number + 1) * size)};
  }

 private:
  static int64_t ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }
};

// A task sums kQueryTile by kKeys elements. Queries beyond them, where bias is broadcast along
// queries, are added to the elements that they follow by multiples of kQueryTile, and so are keys;
// in the end the elements of a row or column that is one element of dbias are added.
template <class T>
class BiasGradient {
 public:
  using C = compute_t<T>;

  BiasGradient(const AttentionDesc& d, const GradientInputs<T>& in)
      : d_(d), tile_(d, in), padded_(tile_.padded()) {
    static thread_local Scratch scratch;
    const int64_t rows = (kQueryTile + kGroup) * padded_, keys = kKeys<C> * padded_;
    const int64_t numbers = (kQueryTile + kGroup + kLanes<C>) / kLanes<C> * kLanes<C>;
    C* next = scratch.get<C>(2 * rows + 4 * keys + 2 * numbers + 2 * kGroup * kKeys<C> + kElements);
    const auto take = [&](int64_t count) { return std::exchange(next, next + count); };
    rows_ = {take(rows), take(rows), take(numbers), take(numbers)};
    keys_ = {take(keys), take(keys), take(keys), take(keys)};
    weights_ = take(kGroup * kKeys<C>);
    slopes_ = take(kGroup * kKeys<C>);
    sums_ = take(kElements);
  }

  void run(Range batches, Range heads, Range queries, Range keys) {
    std::fill(sums_, sums_ + kElements, C(0));
    for (int64_t b = batches.begin; b < batches.end; ++b) {
      p_ = problem_at(d_, b);
      for (int64_t head = heads.begin; head < heads.end; ++head) {
        tile_.start(p_, head);
        for (int64_t i = queries.begin; i < queries.end; i += kQueryTile)
          add_queries(i, std::min(queries.end, i + kQueryTile), keys);
      }
    }
    const auto& s = d_.dbias_strides;
    write(std::min(kQueryTile, queries.end - queries.begin),
          std::min<int64_t>(kKeys<C>, keys.end - keys.begin),
          static_cast<T*>(d_.dbias) + batches.begin * s.batch + heads.begin * s.head +
              queries.begin * s.query + keys.begin * s.key);
  }

 private:
  static constexpr int64_t kElements = kQueryTile * kKeys<C>;

  void add_queries(int64_t begin, int64_t end, Range keys) {
    const Range seen = visible_keys(d_, p_, begin, end - 1);
    const int64_t first = std::max(keys.begin, seen.begin / kKeys<C> * kKeys<C>);
    const int64_t last = std::min(keys.end, seen.end);
    if (first >= last) return;
    tile_.read_queries(begin, end - begin, rows_, keys_.k);
    for (int64_t key = first; key < last; key += kKeys<C>) {
      tile_.read_keys(key, keys_);
      for (int64_t i = begin; i < end; i += kGroup)
        add_group(i - begin, i, std::min<int64_t>(end, i + kGroup), key);
    }
  }

  void add_group(int64_t r, int64_t i, int64_t end, int64_t key) {
    const KeyVectors v =
        tile_.template group<false>(rows_, r, i, end, key, keys_, weights_, slopes_);
    for (int64_t x = 0; x < end - i; ++x) {
      C* sums = sums_ + (r + x) * kKeys<C>;
      const C* slopes = slopes_ + x * kKeys<C>;
      for (int j = v.begin * kLanes<C>; j < v.end * kLanes<C>; j += kLanes<C>)
        store(sums + j, load(sums + j) + load(slopes + j));
    }
  }

  // The first `rows` rows and `columns` columns of the sums, those that are one element added.
  void write(int64_t rows, int64_t columns, T* to) {
    const auto& s = d_.dbias_strides;
    if (s.query == 0) {
      for (int64_t r = 1; r < kQueryTile; ++r)
        for (int64_t j = 0; j < kKeys<C>; ++j) sums_[j] += sums_[r * kKeys<C> + j];
      rows = 1;
    }
    if (s.key == 0) {
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t j = 1; j < kKeys<C>; ++j) sums_[r * kKeys<C>] += sums_[r * kKeys<C> + j];
      columns = 1;
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < columns; ++j)
        to[r * s.query + j * s.key] = static_cast<T>(sums_[r * kKeys<C> + j]);
  }

  const AttentionDesc& d_;
  GradientTile<T> tile_;
  int64_t padded_;
  Problem p_;
  QueryRows<C> rows_;
  KeyTile<C> keys_;
  C *weights_, *slopes_;  // of a group
  C* sums_;               // [kQueryTile][kKeys]
};

// - sum_i exp(sink - lse[i]) delta[i] of one head of one batch element.
template <class T>
compute_t<T> sink_slope(const AttentionDesc& d, const GradientInputs<T>& in, int64_t batch,
                        int64_t head) {
  using C = compute_t<T>;
  static thread_local Scratch scratch;
  const int64_t padded = padded_dim<C>(d);
  C* const dout = scratch.get<C>(2 * padded);
  const C sink = static_cast<const C*>(d.sinks)[head];
  const C* lse = in.lse + (batch * d.heads + head) * d.q_len;
  const Problem p{.batch = batch};
  C sum = 0;
  for (int64_t i = 0; i < d.q_len; ++i) {
    if (lse[i] == -std::numeric_limits<C>::infinity()) continue;  // the sink is -inf
    copy_rows(row(in.dout, d.dout, batch, head, i), 0, 1, d.head_dim, padded, C(1), dout);
    sum -= std::exp(sink - lse[i]) * delta_of(d, p, in.out, head, i, dout, padded, dout + padded);
  }
  return sum;
}

}  // namespace

template <class T>
BiasParts<T>::BiasParts(const AttentionDesc& d, bool bends)
    : desc_(d), stride_((d.kv_len + kKeys<C> - 1) / kKeys<C> * kKeys<C>) {
  const auto& s = d.dbias_strides;
  const bool is_whole = s.batch == 0 && (s.head != 0 || d.heads == 1) && s.query != 0 && s.key != 0;
  if (!d.dbias || !is_whole || bends || d.cu_seqlens_q) return;
  const int64_t elements = d.heads * d.q_len * stride_;
  if (elements == 0) return;
  const int64_t most = kMostPartBytes / static_cast<int64_t>(sizeof(C)) / elements;
  const int64_t parts = std::min({d.batch, kMostParts, most});
  if (parts * d.kv_heads < kLeastTasks) return;
  static thread_local Scratch scratch;
  sums_ = scratch.get<C>(parts * elements);
  count_ = parts;
}

template <class T>
void BiasParts<T>::join() const {
  const auto& s = desc_.dbias_strides;
  const int64_t rows = desc_.heads * desc_.q_len;
  parallel_for(rows, grain_for(desc_.kv_len * count_), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* const to =
          static_cast<T*>(desc_.dbias) + i / desc_.q_len * s.head + i % desc_.q_len * s.query;
      C* const first = sums_ + i * stride_;
      for (int64_t part = 1; part < count_; ++part) {
        const C* next = first + part * rows * stride_;
        for (int64_t j = 0; j < desc_.kv_len; ++j) first[j] += next[j];
      }
      for (int64_t j = 0; j < desc_.kv_len; ++j) to[j * s.key] = static_cast<T>(first[j]);
    }
  });
}

template <class T>
void bias_gradient(const AttentionDesc& d, const GradientInputs<T>& in) {
  const auto& s = d.dbias_strides;
  const Cut batches(d.batch, s.batch, 1), heads(d.heads, s.head, 1);
  const Cut queries(d.q_len, s.query, kQueryTile), keys(d.kv_len, s.key, kKeys<compute_t<T>>);
  const int64_t tasks = batches.count * heads.count * queries.count * keys.count;
  parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
    BiasGradient<T> gradient(d, in);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t above = t / keys.count, head = above / queries.count;
      gradient.run(batches.piece(head / heads.count), heads.piece(head % heads.count),
                   queries.piece(above % queries.count), keys.piece(t % keys.count));
    }
  });
}

template <class T>
void sink_gradient(const AttentionDesc& d, const GradientInputs<T>& in) {
  auto* const dsinks = static_cast<compute_t<T>*>(d.dsinks);
  const int64_t grain = grain_for(d.batch * d.q_len * d.head_dim);
  parallel_for(d.heads, grain, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      dsinks[head] = 0;
      for (int64_t b = 0; b < d.batch; ++b) dsinks[head] += sink_slope(d, in, b, head);
    }
  });
}

#define PLINTH_INSTANTIATE(T)                                                     \
  template class BiasParts<T>;                                                    \
  template void bias_gradient<T>(const AttentionDesc&, const GradientInputs<T>&); \
  template void sink_gradient<T>(const AttentionDesc&, const GradientInputs<T>&);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu::attention
