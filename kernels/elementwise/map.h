#pragma once

// Parallel loops of elementwise CPU kernels: out_i = f(x_i) and f(x_i, y_i), over contiguous
// elements or a strided Loop. out may be x or y.
//
// f takes single elements of the compute type; over contiguous elements it may instead be a generic
// lambda on vectors of them (kernels/vectors.h), where all types are one.

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

#include "kernels/convert.h"
#include "kernels/elementwise/loop.h"
#include "kernels/parallel.h"
#include "kernels/vectors.h"

namespace plinth::kernels {

template <class T>
inline constexpr bool is_half = std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>;

namespace detail {

// Elements [begin, begin + n) at full precision: in place, or widened into a strip of memory that
// stays in cache, which is many times as fast as converting one by one.
inline constexpr int64_t kStrip = 256;
template <class T>
class WideStrip {
 public:
  PLINTH_INLINE const auto* read(const T* x, int64_t begin, int64_t n) {
    if constexpr (is_half<T>) {
      widen(n, x + begin, wide_);
      return wide_;
    } else {
      return x + begin;
    }
  }
  PLINTH_INLINE auto* room(T* out, int64_t begin) {
    if constexpr (is_half<T>) {
      return wide_;
    } else {
      return out + begin;
    }
  }
  PLINTH_INLINE void write(T* out, int64_t begin, int64_t n) {
    if constexpr (is_half<T>) narrow(n, wide_, out + begin);
  }

 private:
  float wide_[is_half<T> ? kStrip : 1];
};

// Whether f is a generic lambda on vectors of T's compute type.
template <class T, class F>
constexpr bool takes_vectors() {
  if constexpr (std::is_floating_point_v<compute_t<T>>) {
    using V = cpu::Vec<compute_t<T>>;
    return std::is_invocable_v<F, V> || std::is_invocable_v<F, V, V>;
  } else {
    return false;
  }
}

}  // namespace detail

// One thread's part of contiguous elements.
template <class Out, class X, class F>
PLINTH_INLINE void map_range(int64_t n, const X* x, Out* out, F f) {
  if constexpr (detail::takes_vectors<X, F>()) {
    using cpu::load, cpu::store;
    cpu::for_vectors<compute_t<X>>(n, [&](int64_t i, auto part, auto) PLINTH_INLINE_LAMBDA {
      store(out + i, f(load(x + i, part)), part);
    });
  } else {
    detail::WideStrip<X> in;
    detail::WideStrip<Out> result;
    for (int64_t begin = 0; begin < n; begin += detail::kStrip) {
      const int64_t count = std::min(detail::kStrip, n - begin);
      const auto* a = in.read(x, begin, count);
      auto* o = result.room(out, begin);
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) o[i] = static_cast<std::decay_t<decltype(*o)>>(f(a[i]));
      result.write(out, begin, count);
    }
  }
}

// y is a single element where kRepeatY, x where kRepeatX.
template <bool kRepeatX = false, bool kRepeatY = false, class Out, class X, class Y, class F>
PLINTH_INLINE void map_range(int64_t n, const X* x, const Y* y, Out* out, F f) {
  static_assert(std::is_same_v<compute_t<X>, compute_t<Y>>);
  if constexpr (detail::takes_vectors<X, F>()) {
    static_assert(!kRepeatX && !kRepeatY);
    using cpu::load, cpu::store;
    cpu::for_vectors<compute_t<X>>(n, [&](int64_t i, auto part, auto) PLINTH_INLINE_LAMBDA {
      store(out + i, f(load(x + i, part), load(y + i, part)), part);
    });
  } else {
    using C = compute_t<X>;
    const C first_x = *x, first_y = *y;
    detail::WideStrip<X> in_x;
    detail::WideStrip<Y> in_y;
    detail::WideStrip<Out> result;
    for (int64_t begin = 0; begin < n; begin += detail::kStrip) {
      const int64_t count = std::min(detail::kStrip, n - begin);
      const auto* a = kRepeatX ? &first_x : in_x.read(x, begin, count);
      const auto* b = kRepeatY ? &first_y : in_y.read(y, begin, count);
      auto* o = result.room(out, begin);
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) {
        o[i] = static_cast<std::decay_t<decltype(*o)>>(f(
            kRepeatX ? first_x : static_cast<C>(a[i]), kRepeatY ? first_y : static_cast<C>(b[i])));
      }
      result.write(out, begin, count);
    }
  }
}

// Contiguous elements, from several threads.
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

// The offsets of one inner row after another, without the divisions of Loop::offsets(): where rows
// are short they would take longer than the rows.
template <int kOperands>
class RowWalk {
 public:
  RowWalk(const Loop<kOperands>& loop, int64_t row) : loop_(loop), at_(loop.offsets(row)) {
    for (int d = loop.dims - 2; d >= 0; --d) {
      index_[d] = row % loop.size[d];
      row /= loop.size[d];
    }
  }
  const std::array<int64_t, kOperands>& offsets() const { return at_; }
  void next() {
    for (int d = loop_.dims - 2; d >= 0; --d) {
      const bool wraps = ++index_[d] == loop_.size[d];
      const int64_t steps = wraps ? 1 - loop_.size[d] : 1;
      for (int k = 0; k < kOperands; ++k) at_[k] += steps * loop_.stride[k][d];
      if (!wraps) return;
      index_[d] = 0;
    }
  }

 private:
  const Loop<kOperands>& loop_;
  std::array<int64_t, kOperands> at_;
  std::array<int64_t, kMaxLoopDims> index_{};
};

// Calls row(offsets, length) for every inner row, or piece of one, from several threads.
template <int kOperands, class Row>
void for_each_row(const Loop<kOperands>& loop, Row&& row) {
  const int64_t rows = loop.rows();
  const int64_t inner = loop.inner();
  if (rows == 0 || inner == 0) return;
  if (rows == 1) {
    parallel_for(inner, grain_for(1), [&](int64_t begin, int64_t end) {
      std::array<int64_t, kOperands> offsets{};
      for (int k = 0; k < kOperands; ++k) offsets[k] = begin * loop.inner_stride(k);
      row(offsets, end - begin);
    });
    return;
  }
  parallel_for(rows, grain_for(inner), [&](int64_t begin, int64_t end) {
    RowWalk<kOperands> walk(loop, begin);
    for (int64_t r = begin; r < end; ++r, walk.next()) row(walk.offsets(), inner);
  });
}

// out[i] = f(x[i]); f maps the compute type of X to that of Out.
template <class Out, class X, class F>
void map(const Loop<2>& loop, Out* out, const X* x, F f) {
  const int64_t so = loop.inner_stride(0), sx = loop.inner_stride(1);
  for_each_row(loop, [&](const std::array<int64_t, 2>& at, int64_t n) {
    Out* o = out + at[0];
    const X* a = x + at[1];
    if (so == 1 && sx == 1) return map_range(n, a, o, f);
    for (int64_t i = 0; i < n; ++i) o[i * so] = static_cast<Out>(f(a[i * sx]));
  });
}

// out[i] = f(x[i], y[i]). out may be x or y itself.
template <class Out, class X, class Y, class F>
void map(const Loop<3>& loop, Out* out, const X* x, const Y* y, F f) {
  const int64_t so = loop.inner_stride(0), sx = loop.inner_stride(1), sy = loop.inner_stride(2);
  for_each_row(loop, [&](const std::array<int64_t, 3>& at, int64_t n) {
    Out* o = out + at[0];
    const X* a = x + at[1];
    const Y* b = y + at[2];
    if (so == 1 && sx == 1 && sy == 1) return map_range(n, a, b, o, f);
    if (so == 1 && sx == 1 && sy == 0) return map_range<false, true>(n, a, b, o, f);
    if (so == 1 && sx == 0 && sy == 1) return map_range<true, false>(n, a, b, o, f);
    for (int64_t i = 0; i < n; ++i) o[i * so] = static_cast<Out>(f(a[i * sx], b[i * sy]));
  });
}

}  // namespace plinth::kernels
