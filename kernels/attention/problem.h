#pragma once

// What the attention kernels share: the split of a call into problems, the keys that a query sees,
// and the copying of rows into padded float32 (or float64) tiles.

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/convert.h"
#include "kernels/matmul/register_tile.h"
#include "kernels/rows.h"

namespace plinth::kernels::cpu::attention {

// One batch element, or one sequence of a packed batch.
struct Problem {
  int64_t batch = 0;                 // index into the strides
  int64_t sample = 0;                // for dropout, relative to philox.sample
  int64_t q_begin = 0, k_begin = 0;  // first rows
  int64_t q_len = 0, kv_len = 0;     // rows
  int64_t kv_visible = 0;            // keys that are not padding
};

inline int64_t problem_count(const AttentionDesc& d) {
  return d.cu_seqlens_q != nullptr ? d.sequences : d.batch;
}

inline Problem problem_at(const AttentionDesc& d, int64_t index) {
  if (d.cu_seqlens_q == nullptr) {
    const int64_t visible =
        d.kv_lengths != nullptr ? std::clamp<int64_t>(d.kv_lengths[index], 0, d.kv_len) : d.kv_len;
    return {index, index, 0, 0, d.q_len, d.kv_len, visible};
  }
  const int64_t q = d.cu_seqlens_q[index], k = d.cu_seqlens_k[index];
  const int64_t kv_len = d.cu_seqlens_k[index + 1] - k;
  return {0, index, q, k, d.cu_seqlens_q[index + 1] - q, kv_len, kv_len};
}

struct Range {
  int64_t begin = 0, end = 0;
  bool empty() const { return begin >= end; }
};

// The keys that query i sees, an interval whose ends do not decrease with i.
inline Range visible_keys(const AttentionDesc& d, const Problem& p, int64_t i) {
  const int64_t diagonal = i + p.kv_len - p.q_len;
  Range keys{0, p.kv_visible};
  if (d.window > 0) keys.begin = std::max<int64_t>(0, diagonal - d.window + 1);
  if (d.causal) {
    keys.end = std::min(keys.end, diagonal + 1);
  } else if (d.window > 0) {
    keys.end = std::min(keys.end, diagonal + d.window);
  }
  keys.end = std::max<int64_t>(keys.end, 0);
  return keys;
}

// The keys between the first that query `first` sees and the last that query `last` does.
inline Range visible_keys(const AttentionDesc& d, const Problem& p, int64_t first, int64_t last) {
  return {visible_keys(d, p, first).begin, visible_keys(d, p, last).end};
}

template <class T>
T* row(T* base, const AttentionDesc::Strides& s, int64_t batch, int64_t head, int64_t i) {
  return base + batch * s.batch + head * s.head + i * s.seq;
}

// head_dim rounded up to whole vectors.
template <class C>
int64_t padded_dim(const AttentionDesc& d) {
  return (d.head_dim + kLanes<C> - 1) / kLanes<C> * kLanes<C>;
}

// Copies `rows` rows of `dim` elements, `stride` apart, into rows of `padded` elements, times
// `factor`.
template <class T>
void copy_rows(const T* from, int64_t stride, int64_t rows, int64_t dim, int64_t padded,
               compute_t<T> factor, compute_t<T>* to) {
  using C = compute_t<T>;
  for (int64_t i = 0; i < rows; ++i, from += stride, to += padded) {
    if constexpr (is_wide<T>) {
      for (int64_t x = 0; x < dim; ++x) to[x] = from[x] * factor;
    } else {
      widen(dim, from, to);
      if (factor != 1) {
        for (int64_t x = 0; x < dim; ++x) to[x] *= factor;
      }
    }
    std::fill(to + dim, to + padded, C(0));
  }
}

// Rows of whole vectors of C.
template <class C>
struct Rows {
  const C* first;
  int64_t stride;
};

// Rows of T as rows of whole vectors: where they are, if they are such, or copied to `buffer`.
template <class T>
Rows<compute_t<T>> whole_rows(const T* from, int64_t stride, int64_t rows, int64_t dim,
                              int64_t padded, compute_t<T>* buffer) {
  if constexpr (is_wide<T>) {
    if (dim == padded) return {from, stride};
  }
  copy_rows(from, stride, rows, dim, padded, compute_t<T>(1), buffer);
  return {buffer, padded};
}

// Writes row elements x[i] * factor as T.
template <class T>
void write_row(const compute_t<T>* x, compute_t<T> factor, int64_t dim, T* to) {
  for (int64_t i = 0; i < dim; ++i) to[i] = static_cast<T>(x[i] * factor);
}

}  // namespace plinth::kernels::cpu::attention
