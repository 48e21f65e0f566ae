#pragma once

// The loop of an elementwise kernel: sizes, and one stride a dimension for each operand, the last
// dimension innermost. Operand 0 is the output. A stride of 0 repeats an operand (broadcasting).

#include <array>
#include <cstdint>
#include <utility>

#include "kernels/parallel.h"

namespace plinth::kernels {

inline constexpr int kMaxLoopDims = 8;

template <int kOperands>
struct Loop {
  int dims = 0;
  std::array<int64_t, kMaxLoopDims> size{};
  std::array<std::array<int64_t, kMaxLoopDims>, kOperands> stride{};  // in elements

  int64_t inner() const { return dims == 0 ? 1 : size[dims - 1]; }
  int64_t inner_stride(int operand) const { return dims == 0 ? 0 : stride[operand][dims - 1]; }
  int64_t rows() const {
    int64_t product = 1;
    for (int d = 0; d + 1 < dims; ++d) product *= size[d];
    return product;
  }
  // Offsets of the operands at the beginning of inner row `row`.
  std::array<int64_t, kOperands> offsets(int64_t row) const {
    std::array<int64_t, kOperands> result{};
    for (int d = dims - 2; d >= 0; --d) {
      const int64_t index = row % size[d];
      row /= size[d];
      for (int k = 0; k < kOperands; ++k) result[k] += index * stride[k][d];
    }
    return result;
  }
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
    for (int64_t r = begin; r < end; ++r) row(loop.offsets(r), inner);
  });
}

// out[i] = f(x[i]); f maps the compute type of X to that of Out.
template <class Out, class X, class F>
void map(const Loop<2>& loop, Out* out, const X* x, F f) {
  const int64_t so = loop.inner_stride(0), sx = loop.inner_stride(1);
  for_each_row(loop, [&](const std::array<int64_t, 2>& at, int64_t n) {
    Out* __restrict o = out + at[0];
    const X* __restrict a = x + at[1];
    if (so == 1 && sx == 1) {
      for (int64_t i = 0; i < n; ++i) o[i] = static_cast<Out>(f(a[i]));
    } else {
      for (int64_t i = 0; i < n; ++i) o[i * so] = static_cast<Out>(f(a[i * sx]));
    }
  });
}

// out[i] = f(x[i], y[i]). out may be x or y itself.
template <class Out, class X, class F>
void map(const Loop<3>& loop, Out* out, const X* x, const X* y, F f) {
  const int64_t so = loop.inner_stride(0), sx = loop.inner_stride(1), sy = loop.inner_stride(2);
  for_each_row(loop, [&](const std::array<int64_t, 3>& at, int64_t n) {
    Out* o = out + at[0];
    const X* a = x + at[1];
    const X* b = y + at[2];
    if (so == 1 && sx == 1 && sy == 1) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) o[i] = static_cast<Out>(f(a[i], b[i]));
    } else if (so == 1 && sx == 1 && sy == 0) {
      const X value = *b;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) o[i] = static_cast<Out>(f(a[i], value));
    } else if (so == 1 && sx == 0 && sy == 1) {
      const X value = *a;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) o[i] = static_cast<Out>(f(value, b[i]));
    } else {
      for (int64_t i = 0; i < n; ++i) o[i * so] = static_cast<Out>(f(a[i * sx], b[i * sy]));
    }
  });
}

}  // namespace plinth::kernels
