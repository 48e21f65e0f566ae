#include "kernels/layer_norm/layer_norm.h"

#include <cmath>

#include "kernels/instantiate.h"
#include "kernels/norm_rows.h"
#include "kernels/row_blocks.h"
#include "kernels/vectors.h"

namespace plinth::kernels::cpu {
namespace {

template <class C>
struct Statistics {
  C mean, rstd;
};

template <class T>
Statistics<compute_t<T>> statistics(int64_t cols, const T* x, compute_t<T> eps) {
  using C = compute_t<T>;
  Sums<C> sum, squares;
  for_vectors<C>(cols, [&](int64_t j, auto part, auto slot)
                           PLINTH_INLINE_LAMBDA { sum[slot] += load(x + j, part); });
  const C mean = sum.total() / static_cast<C>(cols);
  for_vectors<C>(cols, [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
    const auto d = part.keep(load(x + j, part) - mean);
    squares[slot] += d * d;
  });
  return {mean, 1 / std::sqrt(squares.total() / static_cast<C>(cols) + eps)};
}

// Normalises x or, where `branch` is not null, x + branch.
template <class T, class N>
void forward(int64_t rows, int64_t cols, const T* x, const N* branch, const T* weight,
             const T* bias, compute_t<T> eps, T* sum, N* y, compute_t<T>* mean,
             compute_t<T>* rstd) {
  using C = compute_t<T>;
  const RowOrConstant<T> w(cols, weight, 1), b(cols, bias, 0);
  parallel_for(rows, grain_for(cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* row = x + i * cols;
      N* out = y + i * cols;
      if (branch) {
        add_rows(cols, row, branch + i * cols, sum + i * cols);
        row = sum + i * cols;
      }
      const auto [row_mean, row_rstd] = statistics(cols, row, eps);
      for_vectors<C>(
          cols, [&, m = row_mean, r = row_rstd](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
            const auto n = (load(row + j, part) - m) * r;
            store(out + j, n * load(w.data + j, part) + load(b.data + j, part), part);
          });
      if (mean) mean[i] = row_mean;
      if (rstd) rstd[i] = row_rstd;
    }
  });
}

template <class T, class N>
struct Backward {
  using C = compute_t<T>;
  int64_t cols;
  const N* dy;
  const T *dsum, *x, *weight;
  const C *mean, *rstd;
  Gradients<T, N> gradients;

  // The gradient of row i; adds its part of dweight and dbias to `partial` (2 cols) where kPartial.
  template <bool kPartial>
  void row(int64_t i, C* partial) const {
    const N* dy_row = dy + i * cols;
    const T *x_row = x + i * cols, *w = weight;
    C* partial_bias = partial + cols;
    const C m = mean[i], r = rstd[i];
    Sums<C> sum_g, sum_gn;
    for_vectors<C>(cols,
                   [=, &sum_g, &sum_gn](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
                     const auto d = load(dy_row + j, part);
                     const auto g = d * load(w + j, part);
                     const auto n = (load(x_row + j, part) - m) * r;
                     sum_g[slot] += g;
                     sum_gn[slot] += g * n;  // g is 0 in lanes that do not exist
                     if constexpr (kPartial) {
                       store(partial + j, load(partial + j, part) + d * n, part);
                       store(partial_bias + j, load(partial_bias + j, part) + d, part);
                     }
                   });
    if (gradients) {
      write_dx(i, r * sum_g.total() / static_cast<C>(cols),
               r * r * sum_gn.total() / static_cast<C>(cols));
    }
  }

  // dx = rstd g - a - (x - mean) b  [+ dsum]
  void write_dx(int64_t i, C a, C b) const {
    const N* dy_row = dy + i * cols;
    const T *x_row = x + i * cols, *w = weight;
    const RowGradient<T, N> out = gradients.row(i, cols);
    const C m = mean[i], r = rstd[i];
    const auto gradient = [=](int64_t j, auto part) PLINTH_INLINE_LAMBDA {
      const auto g = load(dy_row + j, part) * load(w + j, part);
      return g * r - a - (load(x_row + j, part) - m) * b;
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

  template <bool kPartial>
  void block(int64_t first, int64_t last, C* partial) const {
    for (; first < last; ++first) row<kPartial>(first, partial);
  }
};

template <class T, class N>
void backward(int64_t rows, int64_t cols, const N* dy, const T* dsum, const T* x, const T* weight,
              const compute_t<T>* mean, const compute_t<T>* rstd, const Gradients<T, N>& gradients,
              T* dweight, T* dbias) {
  using C = compute_t<T>;
  const RowOrConstant<T> w(cols, weight, 1);
  const Backward<T, N> kernel{cols, dy, dsum, x, w.data, mean, rstd, gradients};
  const RowBlocks blocks = row_blocks(rows, cols);
  if (!dweight && !dbias) {
    parallel_for(rows, blocks.rows_per_block, [&](int64_t first, int64_t last) {
      kernel.template block<false>(first, last, nullptr);
    });
    return;
  }
  const C* partials =
      partial_sums<C>(blocks, rows, 2 * cols, [&](int64_t first, int64_t last, C* partial) {
        kernel.template block<true>(first, last, partial);
      });
  if (dweight) add_partials(blocks.count, 2 * cols, cols, partials, dweight);
  if (dbias) add_partials(blocks.count, 2 * cols, cols, partials + cols, dbias);
}

}  // namespace

template <class T, class N>
void layer_norm_forward(int64_t rows, int64_t cols, const T* x, const T* weight, const T* bias,
                        compute_t<T> eps, N* y, compute_t<T>* mean, compute_t<T>* rstd) {
  forward<T, N>(rows, cols, x, nullptr, weight, bias, eps, nullptr, y, mean, rstd);
}

template <class T, class N>
void add_layer_norm_forward(int64_t rows, int64_t cols, const N* x, const T* residual,
                            const T* weight, const T* bias, compute_t<T> eps, T* sum, N* y,
                            compute_t<T>* mean, compute_t<T>* rstd) {
  forward<T, N>(rows, cols, residual, x, weight, bias, eps, sum, y, mean, rstd);
}

template <class T, class N>
void layer_norm_backward(int64_t rows, int64_t cols, const N* dy, const T* x, const T* weight,
                         const compute_t<T>* mean, const compute_t<T>* rstd, T* dx, T* dweight,
                         T* dbias) {
  backward<T, N>(rows, cols, dy, nullptr, x, weight, mean, rstd, {dx, nullptr}, dweight, dbias);
}

template <class T, class N>
void add_layer_norm_backward(int64_t rows, int64_t cols, const N* dy, const T* dsum, const T* sum,
                             const T* weight, const compute_t<T>* mean, const compute_t<T>* rstd,
                             T* dx, std::type_identity_t<N>* dbranch, T* dweight, T* dbias) {
  backward<T, N>(rows, cols, dy, dsum, sum, weight, mean, rstd, {dx, dbranch}, dweight, dbias);
}

#define INSTANTIATE(T, N)                                                                         \
  template void layer_norm_forward<T, N>(int64_t, int64_t, const T*, const T*, const T*,          \
                                         compute_t<T>, N*, compute_t<T>*, compute_t<T>*);         \
  template void add_layer_norm_forward<T, N>(int64_t, int64_t, const N*, const T*, const T*,      \
                                             const T*, compute_t<T>, T*, N*, compute_t<T>*,       \
                                             compute_t<T>*);                                      \
  template void layer_norm_backward<T, N>(int64_t, int64_t, const N*, const T*, const T*,         \
                                          const compute_t<T>*, const compute_t<T>*, T*, T*, T*);  \
  template void add_layer_norm_backward<T, N>(int64_t, int64_t, const N*, const T*, const T*,     \
                                              const T*, const compute_t<T>*, const compute_t<T>*, \
                                              T*, N*, T*, T*);
PLINTH_FOR_EACH_FLOAT_AND_NARROW(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
