#include "kernels/layer_norm/layer_norm_cuda.h"

#include "kernels/device/device.h"

namespace plinth::kernels::cuda {
namespace {

using namespace plinth::device;

// A row is owned by `threads` threads, each of which holds up to `elements` of it, in vectors of 16
// bytes: thread t has vectors t, t + threads, t + 2 threads, ... With 32 threads it is a warp, and
// four rows share a block.
//
//   columns up to   256  512  1024   2048  4096  8192   16384
//   threads          32   32    32    256   256   256     512
//   elements          8   16    32      8    16    32      32
//
// The backward pass holds four such arrays, so 32 elements are 128 registers, and no instance
// spills.
constexpr int kWarpsABlock = 4;
constexpr int64_t kMaxColumns = 8192;
constexpr int64_t kMaxParts = 256;  // of the weight's and bias's gradients: enough to fill a GPU
constexpr int64_t kRowsAPart = 32;

template <class T>
using RowVector = Vector<T, kVectorWidth<T>>;

template <class T, int kThreads, int kElements>
struct Row {
  static constexpr int kWidth = kVectorWidth<T>;
  static constexpr int kVectors = kElements / kWidth;
  float values[kVectors][kWidth];

  // Column of element e of this thread's vector v.
  PLINTH_DEVICE static int64_t column(int v) {
    return (static_cast<int64_t>(v) * kThreads + thread_index() % kThreads) * kWidth;
  }

  PLINTH_DEVICE void load(Global<const T> from, int64_t cols) {
    PLINTH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (column(v) >= cols) {
        PLINTH_UNROLL
        for (int e = 0; e < kWidth; ++e) values[v][e] = 0.0f;
        continue;
      }
      const auto vector = load_vector<RowVector<T>>(from + column(v));
      PLINTH_UNROLL
      for (int e = 0; e < kWidth; ++e) values[v][e] = vector[e];
    }
  }

  PLINTH_DEVICE void store(Global<T> to, int64_t cols) const {
    PLINTH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (column(v) >= cols) continue;
      store_vector(to + column(v), rounded<T>(values[v]));
    }
  }

  // Multiplies by, or adds, another row of memory, vector by vector: no second array of registers.
  PLINTH_DEVICE void scale(Global<const T> by, int64_t cols) {
    combine(by, cols, [](float a, float b) { return a * b; });
  }
  PLINTH_DEVICE void add(Global<const T> other, int64_t cols) {
    combine(other, cols, [](float a, float b) { return a + b; });
  }

  // Calls f(value, vector, element) for each element that exists.
  template <class F>
  PLINTH_DEVICE void each(int64_t cols, F f) {
    PLINTH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (column(v) >= cols) continue;
      PLINTH_UNROLL
      for (int e = 0; e < kWidth; ++e) f(values[v][e], v, e);
    }
  }

 private:
  template <class F>
  PLINTH_DEVICE void combine(Global<const T> other, int64_t cols, F f) {
    PLINTH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (column(v) >= cols) continue;
      const auto vector = load_vector<RowVector<T>>(other + column(v));
      PLINTH_UNROLL
      for (int e = 0; e < kWidth; ++e) values[v][e] = f(values[v][e], vector[e]);
    }
  }
};

// The sum over the threads that share a row. `scratch` alternates between calls, so that one
// barrier a call is enough.
template <int kThreads>
PLINTH_DEVICE float row_sum(float value, Shared<float> scratch) {
  if constexpr (kThreads == 32) {
    return warp_reduce<Sum>(value);
  } else {
    return block_reduce<Sum>(value, 0.0f, scratch);
  }
}

template <class T, int kThreads, int kElements>
PLINTH_KERNEL void forward_kernel(int64_t rows, int64_t cols, Global<const T> x,
                                  Global<const T> residual, Global<const T> weight,
                                  Global<const T> bias, float eps, Global<T> sum, Global<T> y,
                                  Global<float> mean_out, Global<float> rstd_out) {
  const Shared<float> scratch = shared_array<float>(0, 64);
  const int64_t rows_a_block = block_threads() / kThreads;
  const int64_t row = block_index().x * rows_a_block + thread_index() / kThreads;
  if (row >= rows) return;  // a whole warp, or the whole block
  const int64_t at = row * cols;

  Row<T, kThreads, kElements> r;
  r.load(x + at, cols);
  if (residual) {
    r.add(residual + at, cols);
    // The sum is what later layers read: normalise what they will see, rounded to T.
    r.each(cols, [&](float& value, int, int) { value = float(T(value)); });
    r.store(sum + at, cols);
  }

  float total = 0.0f;
  r.each(cols, [&](float& value, int, int) { total += value; });
  const float mean = row_sum<kThreads>(total, scratch) / static_cast<float>(cols);
  float squares = 0.0f;
  r.each(cols, [&](float& value, int, int) { squares += (value - mean) * (value - mean); });
  const float rstd =
      fast_rsqrt(row_sum<kThreads>(squares, scratch + 32) / static_cast<float>(cols) + eps);

  r.each(cols, [&](float& value, int, int) { value = (value - mean) * rstd; });
  if (weight) r.scale(weight, cols);
  if (bias) r.add(bias, cols);
  r.store(y + at, cols);
  if (thread_index() % kThreads == 0) {
    if (mean_out) mean_out[row] = mean;
    if (rstd_out) rstd_out[row] = rstd;
  }
}

// Rows part, part + parts, ... belong to a block (or, with a warp a row, to its warps in turn).
template <class T, int kThreads, int kElements>
PLINTH_KERNEL void backward_kernel(int64_t rows, int64_t cols, Global<const T> dy,
                                   Global<const T> dsum, Global<const T> x, Global<const T> weight,
                                   Global<const float> mean_in, Global<const float> rstd_in,
                                   Global<T> dx, Global<float> workspace) {
  using R = Row<T, kThreads, kElements>;
  const Shared<float> scratch = shared_array<float>(0, 64);
  const int64_t rows_a_block = block_threads() / kThreads;
  const int64_t slot = thread_index() / kThreads;
  const int64_t parts = grid_blocks().x * rows_a_block;
  const int64_t part = block_index().x * rows_a_block + slot;
  R dweight = {}, dbias = {};
  for (int64_t row = part; row < rows; row += parts) {
    const float mean = mean_in[row], rstd = rstd_in[row];
    R g, n;
    g.load(dy + row * cols, cols);
    n.load(x + row * cols, cols);
    n.each(cols, [&](float& value, int v, int e) {
      value = (value - mean) * rstd;
      dbias.values[v][e] += g.values[v][e];
      dweight.values[v][e] += g.values[v][e] * value;
    });
    if (weight) g.scale(weight, cols);
    float sum_g = 0.0f, sum_gn = 0.0f;
    n.each(cols, [&](float& value, int v, int e) {
      sum_g += g.values[v][e];
      sum_gn += g.values[v][e] * value;
    });
    const float mean_g = row_sum<kThreads>(sum_g, scratch) / static_cast<float>(cols);
    const float mean_gn = row_sum<kThreads>(sum_gn, scratch + 32) / static_cast<float>(cols);
    g.each(cols, [&](float& value, int v, int e) {
      value = rstd * (value - mean_g - n.values[v][e] * mean_gn);
    });
    if (dsum) g.add(dsum + row * cols, cols);
    if (dx) g.store(dx + row * cols, cols);
  }
  if (!workspace) return;
  dweight.each(cols, [&](float& value, int v, int e) {
    workspace[2 * part * cols + R::column(v) + e] = value;
  });
  dbias.each(cols, [&](float& value, int v, int e) {
    workspace[(2 * part + 1) * cols + R::column(v) + e] = value;
  });
}

// Adds the parts of each column, in order.
template <class T>
PLINTH_KERNEL void join_kernel(int64_t parts, int64_t cols, Global<const float> workspace,
                               Global<T> dweight, Global<T> dbias) {
  const int64_t column = static_cast<int64_t>(block_index().x) * block_threads() + thread_index();
  if (column >= cols) return;
  float w = 0.0f, b = 0.0f;
  for (int64_t part = 0; part < parts; ++part) {
    w += workspace[2 * part * cols + column];
    b += workspace[(2 * part + 1) * cols + column];
  }
  if (dweight) dweight[column] = T(w);
  if (dbias) dbias[column] = T(b);
}

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Calls f.operator()<threads, elements>() with the smallest instance that holds a row: the table
// above.
template <class F>
void with_spread(int64_t cols, F f) {
  if (cols <= 256) return f.template operator()<32, 8>();
  if (cols <= 512) return f.template operator()<32, 16>();
  if (cols <= 1024) return f.template operator()<32, 32>();
  if (cols <= 2048) return f.template operator()<256, 8>();
  if (cols <= 4096) return f.template operator()<256, 16>();
  return f.template operator()<256, 32>();
}

constexpr uint32_t block_threads_of(int threads_a_row) {
  return static_cast<uint32_t>(threads_a_row == 32 ? 32 * kWarpsABlock : threads_a_row);
}

constexpr size_t kScratchBytes = 64 * sizeof(float);

// Parts of the parameters' gradients, by the shape alone.
int64_t parts_of(int64_t rows) {
  const int64_t parts = ceil_div(rows, kRowsAPart);
  return parts < kMaxParts ? parts : kMaxParts;
}

template <class T>
void forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* residual,
             const T* weight, const T* bias, float eps, T* sum, T* y, float* mean, float* rstd) {
  if (rows == 0 || cols == 0) return;
  with_spread(cols, [&]<int kThreads, int kElements>() {
    const uint32_t threads = block_threads_of(kThreads);
    const auto blocks = static_cast<uint32_t>(ceil_div(rows, threads / kThreads));
    launch("layer_norm_forward", forward_kernel<T, kThreads, kElements>,
           {{blocks}, {threads}, kScratchBytes}, static_cast<Stream>(stream), rows, cols, x,
           residual, weight, bias, eps, sum, y, mean, rstd);
  });
}

}  // namespace

bool layer_norm_supported(int64_t cols, size_t element_size) {
  const int64_t width = 16 / static_cast<int64_t>(element_size);
  return cols % width == 0 && cols <= kMaxColumns;
}

template <class T>
void layer_norm_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* weight,
                        const T* bias, float eps, T* y, float* mean, float* rstd) {
  forward<T>(stream, rows, cols, x, nullptr, weight, bias, eps, nullptr, y, mean, rstd);
}

template <class T>
void add_layer_norm_forward(void* stream, int64_t rows, int64_t cols, const T* x, const T* residual,
                            const T* weight, const T* bias, float eps, T* sum, T* y, float* mean,
                            float* rstd) {
  forward<T>(stream, rows, cols, x, residual, weight, bias, eps, sum, y, mean, rstd);
}

int64_t layer_norm_backward_workspace(int64_t rows, int64_t cols) {
  return 2 * ceil_div(parts_of(rows), kWarpsABlock) * kWarpsABlock * cols;
}

template <class T>
void layer_norm_backward(void* stream, int64_t rows, int64_t cols, const T* dy, const T* dsum,
                         const T* x, const T* weight, const float* mean, const float* rstd, T* dx,
                         T* dweight, T* dbias, float* workspace) {
  if (rows == 0 || cols == 0) return;
  const bool parameters = dweight != nullptr || dbias != nullptr;
  int64_t parts = 0;
  with_spread(cols, [&]<int kThreads, int kElements>() {
    const uint32_t threads = block_threads_of(kThreads);
    const int64_t rows_a_block = threads / kThreads;
    const auto blocks = static_cast<uint32_t>(ceil_div(parts_of(rows), rows_a_block));
    parts = blocks * rows_a_block;
    launch("layer_norm_backward", backward_kernel<T, kThreads, kElements>,
           {{blocks}, {threads}, kScratchBytes}, static_cast<Stream>(stream), rows, cols, dy, dsum,
           x, weight, mean, rstd, dx, parameters ? workspace : nullptr);
  });
  if (!parameters) return;
  const auto blocks = static_cast<uint32_t>(ceil_div(cols, 128));
  launch("layer_norm_join", join_kernel<T>, {{blocks}, {128}, 0}, static_cast<Stream>(stream),
         parts, cols, static_cast<const float*>(workspace), dweight, dbias);
}

#define PLINTH_INSTANTIATE(T)                                                                    \
  template void layer_norm_forward<T>(void*, int64_t, int64_t, const T*, const T*, const T*,     \
                                      float, T*, float*, float*);                                \
  template void add_layer_norm_forward<T>(void*, int64_t, int64_t, const T*, const T*, const T*, \
                                          const T*, float, T*, T*, float*, float*);              \
  template void layer_norm_backward<T>(void*, int64_t, int64_t, const T*, const T*, const T*,    \
                                       const T*, const float*, const float*, T*, T*, T*, float*);
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
