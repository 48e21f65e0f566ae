#pragma once

// What the row kernels share: rows of a narrow type are widened to the compute type in a buffer
// that stays in the first cache, computed on there, and narrowed on their way out; rows of float
// and double are used where they lie.

#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>

#include "kernels/convert.h"
#include "kernels/types.h"

namespace plinth::kernels {

template <class T>
inline constexpr bool is_wide = std::is_same_v<T, compute_t<T>>;

// Scratch for one row of T at a time; it holds nothing where T is its own compute type.
template <class T>
class RowBuffer {
 public:
  using C = compute_t<T>;

  explicit RowBuffer(int64_t cols) : cols_(cols) {
    if constexpr (!is_wide<T>) buffer_ = std::make_unique_for_overwrite<C[]>(cols);
  }

  // The row's values: `row` itself, or its widened copy.
  const C* read(const T* row) {
    if constexpr (is_wide<T>) {
      return row;
    } else {
      widen(cols_, row, buffer_.get());
      return buffer_.get();
    }
  }

  // Where to compute the row's new values, to be followed by flush(row).
  C* stage(T* row) {
    if constexpr (is_wide<T>) {
      return row;
    } else {
      return buffer_.get();
    }
  }
  void flush(T* row) {
    if constexpr (!is_wide<T>) narrow(cols_, buffer_.get(), row);
  }

 private:
  int64_t cols_;
  std::unique_ptr<C[]> buffer_;
};

// sum = x + residual, and the row's values as rounded to T, which is what a backward pass will see.
template <class T>
inline const compute_t<T>* add_rows(int64_t cols, const T* x, const T* residual, T* sum,
                                    RowBuffer<T>& buffer, RowBuffer<T>& residual_buffer) {
  const compute_t<T>* a = buffer.read(x);
  const compute_t<T>* b = residual_buffer.read(residual);
  compute_t<T>* out = buffer.stage(sum);
#pragma omp simd
  for (int64_t j = 0; j < cols; ++j) out[j] = a[j] + b[j];
  buffer.flush(sum);
  return buffer.read(sum);
}

// The sum of f(0) .. f(n - 1), in an order fixed by n. Four quarters are summed side by side, so
// that additions do not wait for each other.
template <class C, class F>
inline C sum_over(int64_t n, F f) {
  const int64_t q = n / 4;
  C s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
  for (int64_t i = 0; i < q; ++i) {
    s0 += f(i);
    s1 += f(i + q);
    s2 += f(i + 2 * q);
    s3 += f(i + 3 * q);
  }
  for (int64_t i = 4 * q; i < n; ++i) s3 += f(i);
  return (s0 + s1) + (s2 + s3);
}

// The largest of x[0 .. n - 1]; NaNs are passed over, n = 0 gives -infinity.
template <class C>
inline C max_over(int64_t n, const C* x) {
  constexpr int kLanes = 64 / sizeof(C);
  C lane[kLanes];
  for (C& m : lane) m = -std::numeric_limits<C>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
  }
  for (; i < n; ++i) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
  C m = lane[0];
  for (C v : lane) m = v > m ? v : m;
  return m;
}

}  // namespace plinth::kernels
