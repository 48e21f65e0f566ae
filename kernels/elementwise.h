#pragma once

// Parallel, vectorised loops over contiguous elements: out_i = f(x_i) and f(x_i, y_i), with f on
// the compute type. Narrow types pass through small buffers in the first cache.

#include <algorithm>
#include <cstdint>

#include "kernels/convert.h"
#include "kernels/parallel.h"
#include "kernels/rows.h"

namespace plinth::kernels {

inline constexpr int64_t kElementwiseStrip = 512;

// One thread's part; out may be x or y.
template <class T, class F>
inline void map_range(int64_t n, const T* x, T* out, F f) {
  if constexpr (is_wide<T>) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] = f(x[i]);
  } else {
    compute_t<T> a[kElementwiseStrip];
    for (int64_t begin = 0; begin < n; begin += kElementwiseStrip) {
      const int64_t count = std::min(kElementwiseStrip, n - begin);
      widen(count, x + begin, a);
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) a[i] = f(a[i]);
      narrow(count, a, out + begin);
    }
  }
}

template <class T, class F>
inline void map_range(int64_t n, const T* x, const T* y, T* out, F f) {
  if constexpr (is_wide<T>) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] = f(x[i], y[i]);
  } else {
    compute_t<T> a[kElementwiseStrip], b[kElementwiseStrip];
    for (int64_t begin = 0; begin < n; begin += kElementwiseStrip) {
      const int64_t count = std::min(kElementwiseStrip, n - begin);
      widen(count, x + begin, a);
      widen(count, y + begin, b);
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) a[i] = f(a[i], b[i]);
      narrow(count, a, out + begin);
    }
  }
}

template <class T, class F>
inline void map(int64_t n, const T* x, T* out, F f) {
  parallel_for(n, grain_for(1), [=](int64_t begin, int64_t end) {
    map_range(end - begin, x + begin, out + begin, f);
  });
}

template <class T, class F>
inline void map(int64_t n, const T* x, const T* y, T* out, F f) {
  parallel_for(n, grain_for(1), [=](int64_t begin, int64_t end) {
    map_range(end - begin, x + begin, y + begin, out + begin, f);
  });
}

}  // namespace plinth::kernels
