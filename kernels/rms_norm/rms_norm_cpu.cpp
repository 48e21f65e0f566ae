#include "kernels/rms_norm/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/instantiate.h"
#include "kernels/norm_rows.h"
#include "kernels/row_blocks.h"
#include "kernels/scratch.h"
#include "kernels/vectors.h"

namespace plinth::kernels::cpu {
namespace {

// Normalises x or, where `branch` is not null, x + branch.
template <class T, class N>
void forward(int64_t rows, int64_t cols, const T* x, const N* branch, const T* weight,
             compute_t<T> eps, T* sum, N* y, compute_t<T>* rstd) {
  using C = compute_t<T>;
  const RowOrConstant<T> w(cols, weight, 1);
  parallel_for(rows, grain_for(cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* row = x + i * cols;
      N* out = y + i * cols;
      if (branch) {
        add_rows(cols, row, branch + i * cols, sum + i * cols);
        row = sum + i * cols;
      }
      Sums<C> squares;
      for_vectors<C>(cols, [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
        const auto v = load(row + j, part);
        squares[slot] += v * v;
      });
      const C r = 1 / std::sqrt(squares.total() / static_cast<C>(cols) + eps);
      for_vectors<C>(cols, [&](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
        store(out + j, load(row + j, part) * r * load(w.data + j, part), part);
      });
      if (rstd) rstd[i] = r;
    }
  });
}

template <class T, class N>
struct Backward {
  using C = compute_t<T>;
  int64_t cols;
  const N* dy;
  const T *dsum, *x, *weight;
  const C* rstd;
  Gradients<T, N> gradients;

  // The gradient of row i; adds its part of dweight to `partial`. That is done for a weight without
  // a gradient, too: a copy of the loop without it would fuse other products with their sums, and
  // give dx other bits.
  void row(int64_t i, C* partial) const {
    const N* dy_row = dy + i * cols;
    const T *x_row = x + i * cols, *w = weight;
    const C r = rstd[i];
    Sums<C> sum_gx;
    for_vectors<C>(cols, [=, &sum_gx](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
      const auto product = load(dy_row + j, part) * load(x_row + j, part);
      sum_gx[slot] += product * load(w + j, part);
      store(partial + j, load(partial + j, part) + product * r, part);
    });
    if (gradients) write_dx(i, r * r * r * sum_gx.total() / static_cast<C>(cols));
  }

  // dx = rstd g - x b  [+ dsum]
  void write_dx(int64_t i, C b) const {
    const N* dy_row = dy + i * cols;
    const T *x_row = x + i * cols, *w = weight;
    const RowGradient<T, N> out = gradients.row(i, cols);
    const C r = rstd[i];
    const auto gradient = [=](int64_t j, auto part) PLINTH_INLINE_LAMBDA {
      const auto g = load(dy_row + j, part) * load(w + j, part);
      return g * r - unfused(load(x_row + j, part) * b);
    };
    if (dsum) {
      const T* dsum_row = dsum + i * cols;
      for_vectors<C>(cols, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
        out.put(j, gradient(j, part) + load(dsum_row + j, part), part);
      });
    } else {
      for_vectors<C>(cols, [=](int64_t j, auto part, auto)
                               PLINTH_INLINE_LAMBDA { out.put(j, gradient(j, part), part); });
    }
  }

  void block(int64_t first, int64_t last, C* partial) const {
    for (; first < last; ++first) row(first, partial);
  }
};

template <class T, class N>
void backward(int64_t rows, int64_t cols, const N* dy, const T* dsum, const T* x, const T* weight,
              const compute_t<T>* rstd, const Gradients<T, N>& gradients, T* dweight) {
  using C = compute_t<T>;
  const RowOrConstant<T> w(cols, weight, 1);
  const Backward<T, N> kernel{cols, dy, dsum, x, w.data, rstd, gradients};
  const RowBlocks blocks = row_blocks(rows, cols);
  if (!dweight) {
    parallel_for(rows, blocks.rows_per_block, [&](int64_t first, int64_t last) {
      static thread_local Scratch scratch;
      C* unused = scratch.get<C>(cols);
      std::fill_n(unused, cols, C(0));
      kernel.block(first, last, unused);
    });
    return;
  }
  const C* partials = partial_sums<C>(
      blocks, rows, cols,
      [&](int64_t first, int64_t last, C* partial) { kernel.block(first, last, partial); });
  add_partials(blocks.count, cols, cols, partials, dweight);
}

}  // namespace

template <class T, class N>
void rms_norm_forward(int64_t rows, int64_t cols, const T* x, const T* weight, compute_t<T> eps,
                      N* y, compute_t<T>* rstd) {
  forward<T, N>(rows, cols, x, nullptr, weight, eps, nullptr, y, rstd);
}

template <class T, class N>
void add_rms_norm_forward(int64_t rows, int64_t cols, const N* x, const T* residual,
                          const T* weight, compute_t<T> eps, T* sum, N* y, compute_t<T>* rstd) {
  forward<T, N>(rows, cols, residual, x, weight, eps, sum, y, rstd);
}

template <class T, class N>
void rms_norm_backward(int64_t rows, int64_t cols, const N* dy, const T* x, const T* weight,
                       const compute_t<T>* rstd, T* dx, T* dweight) {
  backward<T, N>(rows, cols, dy, nullptr, x, weight, rstd, {dx, nullptr}, dweight);
}

template <class T, class N>
void add_rms_norm_backward(int64_t rows, int64_t cols, const N* dy, const T* dsum, const T* sum,
                           const T* weight, const compute_t<T>* rstd, T* dx,
                           std::type_identity_t<N>* dbranch, T* dweight) {
  backward<T, N>(rows, cols, dy, dsum, sum, weight, rstd, {dx, dbranch}, dweight);
}

#define INSTANTIATE(T, N)                                                                      \
  template void rms_norm_forward<T, N>(int64_t, int64_t, const T*, const T*, compute_t<T>, N*, \
                                       compute_t<T>*);                                         \
  template void add_rms_norm_forward<T, N>(int64_t, int64_t, const N*, const T*, const T*,     \
                                           compute_t<T>, T*, N*, compute_t<T>*);               \
  template void rms_norm_backward<T, N>(int64_t, int64_t, const N*, const T*, const T*,        \
                                        const compute_t<T>*, T*, T*);                          \
  template void add_rms_norm_backward<T, N>(int64_t, int64_t, const N*, const T*, const T*,    \
                                            const T*, const compute_t<T>*, T*, N*, T*);
PLINTH_FOR_EACH_FLOAT_AND_NARROW(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
