#include "kernels/rms_norm/rms_norm_cuda.h"

#include "kernels/instantiate.h"
#include "kernels/rows_cuda.cuh"

namespace plinth::kernels::cuda {
namespace {

// ---- rows in registers ----

// Normalises x or, where `branch` is not null, x + branch.
template <class T, class N, int kThreads, int kElements>
PLINTH_KERNEL void forward_kernel(int64_t rows, int64_t cols, Global<const T> x,
                                  Global<const N> branch, Global<const T> weight, float eps,
                                  Global<T> sum, Global<N> y, Global<float> rstd_out) {
  const Scratch<float> scratch;
  const int64_t rows_a_block = block_threads() / kThreads;
  const int64_t row = block_index().x * rows_a_block + thread_index() / kThreads;
  if (row >= rows) return;  // a whole warp, or the whole block
  const int64_t at = row * cols;

  Row<T, kThreads, kElements> r;
  r.load(x + at, cols);
  if (branch) {
    r.add(branch + at, cols);
    // The sum is what later layers read: normalise what they will see, rounded to T.
    r.each(cols, [&](float& value, int, int) { value = float(T(value)); });
    r.store(sum + at, cols);
  }
  float squares = 0.0f;
  r.each(cols, [&](float& value, int, int) { squares += value * value; });
  const float rstd =
      fast_rsqrt(row_sum<kThreads>(squares, scratch.first) / static_cast<float>(cols) + eps);
  r.each(cols, [&](float& value, int, int) { value *= rstd; });
  if (weight) r.scale(weight, cols);
  r.store(y + at, cols);
  if (rstd_out && thread_index() % kThreads == 0) rstd_out[row] = rstd;
}

// Rows part, part + parts, ... of the blocks' rows belong to a block: one at a time, or one a warp.
template <class T, class N, int kThreads, int kElements>
PLINTH_KERNEL void backward_kernel(int64_t rows, int64_t cols, Global<const N> dy,
                                   Global<const T> dsum, Global<const T> x, Global<const T> weight,
                                   Global<const float> rstd_in, Global<T> dx, Global<N> dbranch,
                                   Global<float> partials) {
  using R = Row<T, kThreads, kElements>;
  const Scratch<float> scratch;
  const int64_t rows_a_block = block_threads() / kThreads;
  const int64_t part = block_index().x;
  const int64_t first = part * rows_a_block + thread_index() / kThreads;
  R dweight = {};
  int64_t turn = 0;
  for (int64_t row = first; row < rows; row += grid_blocks().x * rows_a_block, ++turn) {
    const float rstd = rstd_in[row];
    R g, n;
    g.load(dy + row * cols, cols);
    n.load(x + row * cols, cols);
    n.each(cols, [&](float& value, int v, int e) {
      value *= rstd;
      dweight.values[v][e] += g.values[v][e] * value;
    });
    if (weight) g.scale(weight, cols);
    float sum_gn = 0.0f;
    n.each(cols, [&](float& value, int v, int e) { sum_gn += g.values[v][e] * value; });
    const float mean_gn =
        row_sum<kThreads>(sum_gn, scratch_of_turn(scratch, turn)) / static_cast<float>(cols);
    g.each(cols,
           [&](float& value, int v, int e) { value = rstd * (value - n.values[v][e] * mean_gn); });
    if (dsum) g.add(dsum + row * cols, cols);
    if (dx) g.store(dx + row * cols, cols);
    if (dbranch) g.store(dbranch + row * cols, cols);
  }
  if (partials) write_part_sum(dweight, partials + part * cols, cols);
}

// ---- any other row: a block walks along it ----

template <class T, class N>
PLINTH_KERNEL void forward_any_kernel(int64_t cols, int64_t offset, Global<const T> x,
                                      Global<const N> branch, Global<const T> weight,
                                      compute_t<T> eps, Global<T> sum, Global<N> y,
                                      Global<compute_t<T>> rstd_out) {
  using C = compute_t<T>;
  const Scratch<C> scratch;
  const int64_t row = block_index().x, at = row * cols;
  C squares = 0;
  for_row<T>(at, cols, offset, [&](int64_t j, auto part) {
    C v[part.kSize];
    read<T>(x + at + j, v);
    if (branch) {
      C r[part.kSize];
      read<N>(branch + at + j, r);
      for (int e = 0; e < part.kSize; ++e) v[e] = C(T(v[e] + r[e]));
      write<T>(sum + at + j, v);
    }
    for (int e = 0; e < part.kSize; ++e) squares += v[e] * v[e];
  });
  // Each thread reads again what it read, or wrote, itself.
  const Global<const T> input = branch ? Global<const T>(sum) : x;
  const C mean_square = block_reduce<Sum>(squares, C(0), scratch.first) / static_cast<C>(cols);
  const C rstd = reciprocal_sqrt(mean_square + eps);
  for_row<T>(at, cols, offset, [&](int64_t j, auto part) {
    C v[part.kSize];
    read<T>(input + at + j, v);
    for (int e = 0; e < part.kSize; ++e) {
      v[e] *= rstd;
      if (weight) v[e] *= C(T(weight[j + e]));
    }
    write<N>(y + at + j, v);
  });
  if (rstd_out && thread_index() == 0) rstd_out[row] = rstd;
}

template <class T, class N>
PLINTH_KERNEL void dx_any_kernel(int64_t cols, int64_t offset, Global<const N> dy,
                                 Global<const T> dsum, Global<const T> x, Global<const T> weight,
                                 Global<const compute_t<T>> rstd_in, Global<T> dx,
                                 Global<N> dbranch) {
  using C = compute_t<T>;
  const Scratch<C> scratch;
  const int64_t row = block_index().x, at = row * cols;
  const C rstd = rstd_in[row];
  // Calls f(column, g, n) with dy weight and the normalised row.
  const auto walk = [&](auto f) {
    for_row<T>(at, cols, offset, [&](int64_t j, auto part) {
      C g[part.kSize], n[part.kSize];
      read<N>(dy + at + j, g);
      read<T>(x + at + j, n);
      for (int e = 0; e < part.kSize; ++e) {
        n[e] *= rstd;
        if (weight) g[e] *= C(T(weight[j + e]));
      }
      f(j, g, n);
    });
  };
  C sum_gn = 0;
  walk([&]<int k>(int64_t, C(&g)[k], C(&n)[k]) {
    for (int e = 0; e < k; ++e) sum_gn += g[e] * n[e];
  });
  const C mean_gn = block_reduce<Sum>(sum_gn, C(0), scratch.first) / static_cast<C>(cols);
  walk([&]<int k>(int64_t j, C(&g)[k], C(&n)[k]) {
    for (int e = 0; e < k; ++e) g[e] = rstd * (g[e] - n[e] * mean_gn);
    if (dsum) {
      C other[k];
      read<T>(dsum + at + j, other);
      for (int e = 0; e < k; ++e) g[e] += other[e];
    }
    if (dx) write<T>(dx + at + j, g);
    if (dbranch) write<N>(dbranch + at + j, g);
  });
}

// A thread adds one column of a part's rows.
template <class T, class N>
PLINTH_KERNEL void dweight_any_kernel(int64_t rows, int64_t cols, Global<const N> dy,
                                      Global<const T> x, Global<const compute_t<T>> rstd,
                                      Global<compute_t<T>> partials) {
  using C = compute_t<T>;
  const int64_t column = static_cast<int64_t>(block_index().x) * block_threads() + thread_index();
  if (column >= cols) return;
  const int64_t part = block_index().y, parts = grid_blocks().y;
  C dweight = 0;
  for (int64_t row = part; row < rows; row += parts) {
    const N slope = dy[row * cols + column];
    const T value = x[row * cols + column];
    const C r = rstd[row];
    dweight += C(slope) * C(value) * r;
  }
  partials[part * cols + column] = dweight;
}

// ---- launches ----

template <class T, class N>
void forward(void* stream, int64_t rows, int64_t cols, const T* x, const N* branch, const T* weight,
             compute_t<T> eps, T* sum, N* y, compute_t<T>* rstd) {
  if (rows == 0 || cols == 0) return;
  if constexpr (!std::is_same_v<T, double>) {
    if (fits_registers<kMaxColumnsOfTwo>(cols, x, branch, weight, sum, y)) {
      return with_spread<kMaxColumnsOfTwo>(cols, [&]<int kThreads, int kElements>() {
        launch("rms_norm_forward", forward_kernel<T, N, kThreads, kElements>,
               shape_of_rows<kThreads>(rows), static_cast<Stream>(stream), rows, cols, x, branch,
               weight, eps, sum, y, rstd);
      });
    }
  }
  launch("rms_norm_forward_any", forward_any_kernel<T, N>, shape_of_walks<compute_t<T>>(rows, cols),
         static_cast<Stream>(stream), cols, common_offset(x, branch, sum, y), x, branch, weight,
         eps, sum, y, rstd);
}

// What the backward pass takes.
template <class T, class N>
struct Backward {
  using C = compute_t<T>;
  int64_t rows, cols;
  const N* dy;
  const T *dsum, *x, *weight;
  const C* rstd;
  T* dx;
  N* dbranch;
  C* partials;  // of parts_of(rows) parts; null: none

  void in_registers(Stream stream) const {
    with_spread<kMaxColumns>(cols, [&]<int kThreads, int kElements>() {
      launch("rms_norm_backward", backward_kernel<T, N, kThreads, kElements>,
             shape_of_parts<kThreads>(rows, cols), stream, rows, cols, dy, dsum, x, weight, rstd,
             dx, dbranch, partials);
    });
  }

  void of_any_row(Stream stream) const {
    if (partials) {  // first: dx may overwrite dy or x
      launch("rms_norm_dweight_any", dweight_any_kernel<T, N>, shape_of_columns(rows, cols), stream,
             rows, cols, dy, x, rstd, partials);
    }
    if (dx || dbranch) {
      launch("rms_norm_dx_any", dx_any_kernel<T, N>, shape_of_walks<C>(rows, cols), stream, cols,
             common_offset(x, dy, dsum, dx, dbranch), dy, dsum, x, weight, rstd, dx, dbranch);
    }
  }

  void run(Stream stream) const {
    if (rows == 0) return;
    if constexpr (!std::is_same_v<T, double>) {
      if (fits_registers<kMaxColumns>(cols, x, dy, dsum, weight, dx, dbranch))
        return in_registers(stream);
    }
    of_any_row(stream);
  }
};

}  // namespace

template <class T, class N>
void rms_norm_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* weight,
                      compute_t<T> eps, N* y, compute_t<T>* rstd) {
  forward<T, N>(stream, rows, cols, x, nullptr, weight, eps, nullptr, y, rstd);
}

template <class T, class N>
void add_rms_norm_forward(void* stream, int64_t rows, int64_t cols, const N* x, const T* residual,
                          const T* weight, compute_t<T> eps, T* sum, N* y, compute_t<T>* rstd) {
  forward<T, N>(stream, rows, cols, residual, x, weight, eps, sum, y, rstd);
}

template <class T>
int64_t rms_norm_backward_workspace(int64_t rows, int64_t cols) {
  return static_cast<size_t>(parts_of(rows) * cols) * sizeof(compute_t<T>);
}

template <class T, class N>
void rms_norm_backward(void* stream, int64_t rows, int64_t cols, const N* dy, const T* x,
                       const T* weight, const compute_t<T>* rstd, T* dx, T* dweight,
                       void* workspace) {
  add_rms_norm_backward<T, N>(stream, rows, cols, dy, nullptr, x, weight, rstd, dx, nullptr,
                              dweight, workspace);
}

template <class T, class N>
void add_rms_norm_backward(void* stream, int64_t rows, int64_t cols, const N* dy, const T* dsum,
                           const T* sum, const T* weight, const compute_t<T>* rstd, T* dx,
                           std::type_identity_t<N>* dbranch, T* dweight, void* workspace) {
  using C = compute_t<T>;
  if (cols == 0) return;
  C* partials = dweight ? static_cast<C*>(workspace) : nullptr;
  const Backward<T, N> backward{.rows = rows,
                                .cols = cols,
                                .dy = dy,
                                .dsum = dsum,
                                .x = sum,
                                .weight = weight,
                                .rstd = rstd,
                                .dx = dx,
                                .dbranch = dbranch,
                                .partials = partials};
  backward.run(static_cast<Stream>(stream));
  join_parts("rms_norm_join", stream, parts_of(rows), cols, cols, partials, dweight);
}

#define PLINTH_INSTANTIATE(T) template int64_t rms_norm_backward_workspace<T>(int64_t, int64_t);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

#define PLINTH_INSTANTIATE(T, N)                                                                   \
  template void rms_norm_forward<T, N>(void*, int64_t, int64_t, const T*, const T*, compute_t<T>,  \
                                       N*, compute_t<T>*);                                         \
  template void add_rms_norm_forward<T, N>(void*, int64_t, int64_t, const N*, const T*, const T*,  \
                                           compute_t<T>, T*, N*, compute_t<T>*);                   \
  template void rms_norm_backward<T, N>(void*, int64_t, int64_t, const N*, const T*, const T*,     \
                                        const compute_t<T>*, T*, T*, void*);                       \
  template void add_rms_norm_backward<T, N>(void*, int64_t, int64_t, const N*, const T*, const T*, \
                                            const T*, const compute_t<T>*, T*, N*, T*, void*);
PLINTH_FOR_EACH_FLOAT_AND_NARROW(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
