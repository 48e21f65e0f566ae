#include "kernels/softmax/softmax_cuda.h"

#include "kernels/instantiate.h"
#include "kernels/softmax/online_softmax.cuh"

namespace plinth::kernels::cuda {
namespace {

// ---- rows in registers ----

template <class T, bool kLog, int kThreads, int kElements>
PLINTH_KERNEL void forward_kernel(int64_t rows, int64_t cols, Global<const T> x, Global<T> y) {
  const Scratch<float> scratch;
  const int64_t rows_a_block = block_threads() / kThreads;
  const int64_t row = block_index().x * rows_a_block + thread_index() / kThreads;
  if (row >= rows) return;  // a whole warp, or the whole block
  Row<T, kThreads, kElements> r;
  r.load(x + row * cols, cols);

  float most = -std::numeric_limits<float>::infinity();
  r.each(cols, [&](float& value, int, int) { most = Max{}(value, most); });
  most = row_max<kThreads>(most, scratch.first);
  float total = 0.0f;
  r.each(cols, [&](float& value, int, int) {
    const float e = exp_as<T>(value - most);
    value = kLog ? value - most : e;
    total += e;
  });
  total = row_sum<kThreads>(total, scratch.second);
  const float finish = kLog ? std::log(total) : 1 / total;
  r.each(cols, [&](float& value, int, int) { value = kLog ? value - finish : value * finish; });
  r.store(y + row * cols, cols);
}

template <class T, bool kLog, int kThreads, int kElements>
PLINTH_KERNEL void backward_kernel(int64_t rows, int64_t cols, Global<const T> dy,
                                   Global<const T> y, Global<T> dx) {
  const Scratch<float> scratch;
  const int64_t rows_a_block = block_threads() / kThreads;
  const int64_t row = block_index().x * rows_a_block + thread_index() / kThreads;
  if (row >= rows) return;  // a whole warp, or the whole block
  Row<T, kThreads, kElements> g, p;
  g.load(dy + row * cols, cols);
  p.load(y + row * cols, cols);

  float total = 0.0f;
  g.each(cols, [&](float& value, int v, int e) { total += kLog ? value : value * p.values[v][e]; });
  total = row_sum<kThreads>(total, scratch.first);
  g.each(cols, [&](float& value, int v, int e) {
    const float out = p.values[v][e];
    value = kLog ? value - exp_as<T>(out) * total : out * (value - total);
  });
  g.store(dx + row * cols, cols);
}

// ---- any other row: a block walks along it ----

template <class T, bool kLog>
PLINTH_KERNEL void forward_any_kernel(int64_t cols, int64_t offset, Global<const T> x,
                                      Global<T> y) {
  using C = compute_t<T>;
  const Scratch<C> scratch;
  const int64_t at = static_cast<int64_t>(block_index().x) * cols;
  OnlineSoftmax<T> online;
  for_row<T>(at, cols, offset, [&](int64_t j, auto part) {
    C v[part.kSize];
    read<T>(x + at + j, v);
    online.add(v);
  });
  online.join(scratch);
  const C most = online.max, finish = kLog ? std::log(online.sum) : 1 / online.sum;
  for_row<T>(at, cols, offset, [&](int64_t j, auto part) {
    C v[part.kSize];
    read<T>(x + at + j, v);
    for (int e = 0; e < part.kSize; ++e)
      v[e] = kLog ? v[e] - most - finish : exp_as<T>(v[e] - most) * finish;
    write<T>(y + at + j, v);
  });
}

template <class T, bool kLog>
PLINTH_KERNEL void backward_any_kernel(int64_t cols, int64_t offset, Global<const T> dy,
                                       Global<const T> y, Global<T> dx) {
  using C = compute_t<T>;
  const Scratch<C> scratch;
  const int64_t at = static_cast<int64_t>(block_index().x) * cols;
  C total = 0;
  for_row<T>(at, cols, offset, [&](int64_t j, auto part) {
    C g[part.kSize], p[part.kSize];
    read<T>(dy + at + j, g);
    if (!kLog) read<T>(y + at + j, p);
    for (int e = 0; e < part.kSize; ++e) total += kLog ? g[e] : g[e] * p[e];
  });
  total = block_reduce<Sum>(total, C(0), scratch.first);
  for_row<T>(at, cols, offset, [&](int64_t j, auto part) {
    C g[part.kSize], p[part.kSize];
    read<T>(dy + at + j, g);
    read<T>(y + at + j, p);
    for (int e = 0; e < part.kSize; ++e)
      g[e] = kLog ? g[e] - exp_as<T>(p[e]) * total : p[e] * (g[e] - total);
    write<T>(dx + at + j, g);
  });
}

// ---- launches ----

template <bool kLog, class T>
void forward(void* stream, int64_t rows, int64_t cols, const T* x, T* y) {
  if (rows == 0 || cols == 0) return;
  if constexpr (!std::is_same_v<T, double>) {
    if (fits_registers<kMaxColumnsOfTwo>(cols, x, y)) {
      return with_spread<kMaxColumnsOfTwo>(cols, [&]<int kThreads, int kElements>() {
        launch("softmax_forward", forward_kernel<T, kLog, kThreads, kElements>,
               shape_of_rows<kThreads>(rows), static_cast<Stream>(stream), rows, cols, x, y);
      });
    }
  }
  launch("softmax_forward_any", forward_any_kernel<T, kLog>,
         shape_of_walks<compute_t<T>>(rows, cols), static_cast<Stream>(stream), cols,
         common_offset(x, y), x, y);
}

template <bool kLog, class T>
void backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* y, T* dx) {
  if (rows == 0 || cols == 0) return;
  if constexpr (!std::is_same_v<T, double>) {
    if (fits_registers<kMaxColumnsOfTwo>(cols, dy, y, dx)) {
      return with_spread<kMaxColumnsOfTwo>(cols, [&]<int kThreads, int kElements>() {
        launch("softmax_backward", backward_kernel<T, kLog, kThreads, kElements>,
               shape_of_rows<kThreads>(rows), static_cast<Stream>(stream), rows, cols, dy, y, dx);
      });
    }
  }
  launch("softmax_backward_any", backward_any_kernel<T, kLog>,
         shape_of_walks<compute_t<T>>(rows, cols), static_cast<Stream>(stream), cols,
         common_offset(dy, y, dx), dy, y, dx);
}

}  // namespace

template <class T>
void softmax_forward(void* stream, int64_t rows, int64_t cols, const T* x, T* y) {
  forward<false>(stream, rows, cols, x, y);
}
template <class T>
void softmax_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* y, T* dx) {
  backward<false>(stream, rows, cols, dy, y, dx);
}
template <class T>
void log_softmax_forward(void* stream, int64_t rows, int64_t cols, const T* x, T* y) {
  forward<true>(stream, rows, cols, x, y);
}
template <class T>
void log_softmax_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* y,
                          T* dx) {
  backward<true>(stream, rows, cols, dy, y, dx);
}

#define PLINTH_INSTANTIATE(T)                                                         \
  template void softmax_forward<T>(void*, int64_t, int64_t, const T*, T*);            \
  template void softmax_backward<T>(void*, int64_t, int64_t, const T*, const T*, T*); \
  template void log_softmax_forward<T>(void*, int64_t, int64_t, const T*, T*);        \
  template void log_softmax_backward<T>(void*, int64_t, int64_t, const T*, const T*, T*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
