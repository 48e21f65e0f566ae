#pragma once

// Parallel loops over contiguous elements: out_i = f(x_i) and f(x_i, y_i), with f on vectors of the
// compute type (kernels/vectors.h). out may be x or y.

#include <cstdint>

#include "kernels/parallel.h"
#include "kernels/vectors.h"

namespace plinth::kernels::cpu {

// One thread's part.
template <class T, class F>
PLINTH_INLINE void map_range(int64_t n, const T* x, T* out, F f) {
  for_vectors<compute_t<T>>(n, [&](int64_t i, auto part, auto) PLINTH_INLINE_LAMBDA {
    store(out + i, f(load(x + i, part)), part);
  });
}

template <class T, class F>
PLINTH_INLINE void map_range(int64_t n, const T* x, const T* y, T* out, F f) {
  for_vectors<compute_t<T>>(n, [&](int64_t i, auto part, auto) PLINTH_INLINE_LAMBDA {
    store(out + i, f(load(x + i, part), load(y + i, part)), part);
  });
}

template <class T, class F>
void map(int64_t n, const T* x, T* out, F f) {
  parallel_for(n, grain_for(1), [=](int64_t begin, int64_t end) {
    map_range(end - begin, x + begin, out + begin, f);
  });
}

template <class T, class F>
void map(int64_t n, const T* x, const T* y, T* out, F f) {
  parallel_for(n, grain_for(1), [=](int64_t begin, int64_t end) {
    map_range(end - begin, x + begin, y + begin, out + begin, f);
  });
}

}  // namespace plinth::kernels::cpu
