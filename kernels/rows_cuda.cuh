#pragma once

// Rows of a matrix in GPU kernels: what layer norm, RMS norm, softmax and the losses share.
//
// A row that is whole 16-byte vectors, and not too long, is read once and stays in registers (Row).
// Any other row is walked along by a block, as often as the formula needs it, and comes from the
// caches after the first time (for_row).

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/device/device.h"

namespace plinth::kernels::cuda {

using namespace plinth::device;

// ---- rows in registers ----

// A row is owned by `threads` threads, each of which holds up to `elements` of it, in vectors of 16
// bytes: thread t has vectors t, t + threads, t + 2 threads, ... With 32 threads it is a warp, and
// four rows share a block.
//
//   columns up to   256  512  1024   2048  4096  8192   16384
//   threads          32   32    32    256   256   256     512
//   elements          8   16    32      8    16    32      32
//
// A norm's backward pass holds up to four such arrays, so 32 elements are 128 registers: too many
// for 512 threads, so that the last column is for kernels that hold one array or two. No instance
// spills.
inline constexpr int kWarpsABlock = 4;
inline constexpr int64_t kMaxColumns = 8192;
inline constexpr int64_t kMaxColumnsOfTwo = 16384;

// Calls f.operator()<threads, elements>() with the smallest instance that holds a row.
template <int64_t kMost, class F>
void with_spread(int64_t cols, F f) {
  static_assert(kMost == kMaxColumns || kMost == kMaxColumnsOfTwo);
  if (cols <= 256) return f.template operator()<32, 8>();
  if (cols <= 512) return f.template operator()<32, 16>();
  if (cols <= 1024) return f.template operator()<32, 32>();
  if (cols <= 2048) return f.template operator()<256, 8>();
  if (cols <= 4096) return f.template operator()<256, 16>();
  if (kMost == kMaxColumns || cols <= kMaxColumns) return f.template operator()<256, 32>();
  if constexpr (kMost == kMaxColumnsOfTwo) return f.template operator()<512, 32>();
}

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Memory that a row is read from or written to may be of a narrower type U: its vectors have as
// many elements, and are 8 bytes where T is float and U has 16 bits.
template <class T, int kThreads, int kElements>
struct Row {
  using C = compute_t<T>;
  static constexpr int kWidth = kVectorWidth<T>;
  static constexpr int kVectors = kElements / kWidth;
  C values[kVectors][kWidth];

  // Column of the first element of this thread's vector v.
  PLINTH_DEVICE static int64_t column(int v) {
    return (static_cast<int64_t>(v) * kThreads + thread_index() % kThreads) * kWidth;
  }

  template <class U>
  PLINTH_DEVICE void load(Global<const U> from, int64_t cols) {
    PLINTH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (column(v) >= cols) {
        PLINTH_UNROLL
        for (int e = 0; e < kWidth; ++e) values[v][e] = 0;
        continue;
      }
      widened(load_vector<Vector<U, kWidth>>(from + column(v)), values[v]);
    }
  }

  template <class U>
  PLINTH_DEVICE void store(Global<U> to, int64_t cols) const {
    PLINTH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (column(v) < cols) store_vector(to + column(v), rounded<U>(values[v]));
    }
  }

  // Multiplies by, or adds, another row of memory, vector by vector: no second array of registers.
  template <class U>
  PLINTH_DEVICE void scale(Global<const U> by, int64_t cols) {
    combine(by, cols, [](C a, C b) { return a * b; });
  }
  template <class U>
  PLINTH_DEVICE void add(Global<const U> other, int64_t cols) {
    combine(other, cols, [](C a, C b) { return a + b; });
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

  // Calls store(column, vector) for vectors of compute_t<T> of 16 bytes.
  template <class Store>
  PLINTH_DEVICE void write_wide(int64_t cols, Store&& store) const {
    constexpr int kPiece = kVectorWidth<C>;
    PLINTH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (column(v) >= cols) continue;
      PLINTH_UNROLL
      for (int e = 0; e < kWidth; e += kPiece) {
        Vector<C, kPiece> piece;
        PLINTH_UNROLL
        for (int i = 0; i < kPiece; ++i) piece[i] = values[v][e + i];
        store(column(v) + e, piece);
      }
    }
  }

 private:
  template <class U, class F>
  PLINTH_DEVICE void combine(Global<const U> other, int64_t cols, F f) {
    PLINTH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (column(v) >= cols) continue;
      C theirs[kWidth];
      widened(load_vector<Vector<U, kWidth>>(other + column(v)), theirs);
      PLINTH_UNROLL
      for (int e = 0; e < kWidth; ++e) values[v][e] = f(values[v][e], theirs[e]);
    }
  }
};

// Shared memory of two reductions: calls that take them in turn need no barrier in between.
template <class C>
inline constexpr size_t kScratchBytes = 64 * sizeof(C);

template <class C>
struct Scratch {
  Shared<C> first = shared_array<C>(0, 64);
  Shared<C> second = first + 32;
};

// A loop with one reduction a turn takes the first in even turns and the second in odd ones.
template <class C>
PLINTH_DEVICE Shared<C> scratch_of_turn(const Scratch<C>& scratch, int64_t turn) {
  return turn % 2 == 0 ? scratch.first : scratch.second;
}

// The launch in which each row has its `threads`.
template <int kThreads>
LaunchShape shape_of_rows(int64_t rows) {
  constexpr int64_t kRowsABlock = kThreads == 32 ? kWarpsABlock : 1;
  return {{static_cast<uint32_t>(ceil_div(rows, kRowsABlock))},
          {static_cast<uint32_t>(kThreads * kRowsABlock)},
          kScratchBytes<float>};
}

// The sum, or the maximum, over the threads that share a row.
template <int kThreads, class C>
PLINTH_DEVICE C row_sum(C value, Shared<C> scratch) {
  if constexpr (kThreads == 32) {
    return warp_reduce<Sum>(value);
  } else {
    return block_reduce<Sum>(value, C(0), scratch);
  }
}
template <int kThreads, class C>
PLINTH_DEVICE C row_max(C value, Shared<C> scratch) {
  if constexpr (kThreads == 32) {
    return warp_reduce<Max>(value);
  } else {
    return block_reduce<Max>(value, -std::numeric_limits<C>::infinity(), scratch);
  }
}

// ---- any other row ----

// The next `n` columns of a row, n being 1 or a vector.
template <int n>
struct Part {
  static constexpr int kSize = n;
};

template <class T, int n>
PLINTH_DEVICE void read(Global<const T> from, compute_t<T> (&values)[n]) {
  if constexpr (n == 1) {
    const T value = from[0];
    values[0] = value;
  } else {
    widened(load_vector<Vector<T, n>>(from), values);
  }
}
template <class T, int n>
PLINTH_DEVICE void write(Global<T> to, const compute_t<T> (&values)[n]) {
  if constexpr (n == 1) {
    to[0] = T(values[0]);
  } else {
    store_vector(to, rounded<T>(values));
  }
}

// Calls f(column, Part) for those columns of a row that thread `thread` of `threads` owns: one by
// one up to the first 16-byte boundary and after the last, in vectors between. The row's first
// element is number `start` of its matrix, which lies `offset` elements beyond such a boundary
// (common_offset()).
template <class T, class F>
PLINTH_DEVICE void for_columns(int64_t thread, int64_t threads, int64_t start, int64_t cols,
                               int64_t offset, F f) {
  constexpr int kWidth = kVectorWidth<T>;
  int64_t head = cols;
  if (offset >= 0) {
    head = (kWidth - (offset + start) % kWidth) % kWidth;
    if (head > cols) head = cols;
  }
  for (int64_t j = thread; j < head; j += threads) f(j, Part<1>{});
  const int64_t vectors = (cols - head) / kWidth;
  for (int64_t v = thread; v < vectors; v += threads) f(head + v * kWidth, Part<kWidth>{});
  for (int64_t j = head + vectors * kWidth + thread; j < cols; j += threads) f(j, Part<1>{});
}

// The same for a row that a block walks along.
template <class T, class F>
PLINTH_DEVICE void for_row(int64_t start, int64_t cols, int64_t offset, F f) {
  for_columns<T>(thread_index(), block_threads(), start, cols, offset, f);
}

// How far beyond a boundary of 16 bytes all the pointers lie, in elements; -1 where they differ.
// For elements narrower than T's it is a boundary of as many of them as T has in 16 bytes. Null
// pointers are left out.
template <class T, class... Us>
int64_t common_offset(const T* first, const Us*... others) {
  const auto offset = []<class U>(const U* p) {
    constexpr size_t kVector = kVectorWidth<T> * sizeof(U) < 16 ? kVectorWidth<T> * sizeof(U) : 16;
    return std::bit_cast<uintptr_t>(p) % kVector / sizeof(U);
  };
  const uintptr_t wanted = offset(first);
  const bool same = ((others == nullptr || offset(others) == wanted) && ...);
  return same ? static_cast<int64_t>(wanted) : -1;
}

// Whether rows of `cols` elements at these pointers are whole, aligned vectors.
template <class T, class... Pointers>
bool whole_vectors(int64_t cols, const T* first, const Pointers*... others) {
  return cols % kVectorWidth<T> == 0 && common_offset(first, others...) == 0;
}

// Whether they are, and fit Row. float64 takes the other path: it would need twice the registers.
template <int64_t kMost, class T, class... Pointers>
bool fits_registers(int64_t cols, const T* first, const Pointers*... others) {
  return !std::is_same_v<T, double> && cols <= kMost && whole_vectors(cols, first, others...);
}

// The launch in which a block walks along each row. Few blocks with long rows keep the rows that
// are read a second time in the second cache; float64 has no registers for so many threads.
template <class C>
LaunchShape shape_of_walks(int64_t rows, int64_t cols) {
  constexpr uint32_t kMost = sizeof(C) == 8 ? 512 : 1024;
  const uint32_t threads = cols <= 256 ? 64 : cols <= 4096 ? 256 : cols <= 16384 ? 512 : kMost;
  return {{static_cast<uint32_t>(rows)}, {threads}, kScratchBytes<C>};
}

// Calls f(row, column, Part) for all elements of a matrix, in a launch of
// shape_of_rows_and_columns(); `offset` is 0 where every row is whole, aligned vectors in each
// matrix, else -1.
template <class T, class F>
PLINTH_DEVICE void for_rows_and_columns(int64_t rows, int64_t cols, int64_t offset, F f) {
  const int64_t thread = static_cast<int64_t>(block_index().x) * block_threads() + thread_index();
  const int64_t threads = static_cast<int64_t>(grid_blocks().x) * block_threads();
  for (int64_t row = block_index().y; row < rows; row += grid_blocks().y)
    for_columns<T>(thread, threads, 0, cols, offset,
                   [&](int64_t j, auto part) { f(row, j, part); });
}

// A thread for each vector of a row, blocks as small as a row allows.
template <class T>
LaunchShape shape_of_rows_and_columns(int64_t rows, int64_t cols) {
  constexpr int64_t kMaxRows = 65535;  // of a grid
  const int64_t vectors = ceil_div(cols, kVectorWidth<T>);
  const int64_t threads = vectors < 256 ? ceil_div(vectors, 32) * 32 : 256;
  return {{static_cast<uint32_t>(ceil_div(vectors, threads)),
           static_cast<uint32_t>(rows < kMaxRows ? rows : kMaxRows)},
          {static_cast<uint32_t>(threads)},
          0};
}

// ---- sums over the rows, for the gradients of what all rows share ----

// The rows are cut into parts; each part is added in an order, and join_kernel adds the parts. How
// many there are depends on the shape only; so many fill a GPU (three blocks on each of its 132
// multiprocessors), and are still few rows of float32 beside the matrices.
inline constexpr int64_t kMaxParts = 384;
inline constexpr int64_t kRowsAPart = 16;

inline int64_t parts_of(int64_t rows) {
  const int64_t parts = ceil_div(rows, kRowsAPart);
  return parts < kMaxParts ? parts : kMaxParts;
}

// The launch in which a block has a part in registers: with a warp a row, its rows are dealt to the
// block's warps, whose sums write_part_sum() adds.
template <int kThreads>
LaunchShape shape_of_parts(int64_t rows, int64_t cols) {
  const bool warps = kThreads == 32;
  return {{static_cast<uint32_t>(parts_of(rows))},
          {static_cast<uint32_t>(warps ? 32 * kWarpsABlock : kThreads)},
          kScratchBytes<float> + (warps ? kWarpsABlock * cols * sizeof(float) : 0)};
}

// Writes a part's sum, a row of floats aligned to 16 bytes, from the rows of its warps, or of its
// block.
template <class T, int kThreads, int kElements>
PLINTH_DEVICE void write_part_sum(const Row<T, kThreads, kElements>& mine, Global<float> to,
                                  int64_t cols) {
  if constexpr (kThreads == 32) {
    using V = Vector<float, 4>;
    const Shared<float> sums =
        shared_array<float>(kScratchBytes<float>, static_cast<size_t>(kWarpsABlock * cols));
    block_sync();  // the sums before are used up
    mine.write_wide(cols, [&](int64_t at, const V& piece) {
      store_shared_vector(sums + (warp_index() * cols + at), piece);
    });
    block_sync();
    for (int64_t at = 4 * static_cast<int64_t>(thread_index()); at < cols;
         at += 4 * block_threads()) {
      V sum = load_vector<V>(sums + at);
      for (int warp = 1; warp < kWarpsABlock; ++warp) {
        const V other = load_vector<V>(sums + (warp * cols + at));
        PLINTH_UNROLL
        for (int e = 0; e < 4; ++e) sum[e] += other[e];
      }
      store_vector(to + at, sum);
    }
  } else {
    mine.write_wide(cols, [&](int64_t at, const auto& piece) { store_vector(to + at, piece); });
  }
}

// The launch in which a thread adds one column of each part's rows.
inline LaunchShape shape_of_columns(int64_t rows, int64_t cols) {
  return {{static_cast<uint32_t>(ceil_div(cols, 128)), static_cast<uint32_t>(parts_of(rows))},
          {128},
          0};
}

inline constexpr int kJoiningWarps = 8;

// out[j] = sum of partials[part * stride + j] over the parts: a block has 32 columns, a warp parts
// warp, warp + 8, ...
template <class T>
PLINTH_KERNEL void join_kernel(int64_t parts, int64_t stride, int64_t cols,
                               Global<const compute_t<T>> partials, Global<T> out) {
  using C = compute_t<T>;
  const Shared<C> sums = shared_array<C>(0, 32 * kJoiningWarps);
  const int64_t column = static_cast<int64_t>(block_index().x) * 32 + lane_index();
  C sum = 0;
  if (column < cols) {
    for (int64_t part = warp_index(); part < parts; part += kJoiningWarps) {
      const C partial = partials[part * stride + column];
      sum += partial;
    }
  }
  sums[thread_index()] = sum;
  block_sync();
  if (warp_index() != 0 || column >= cols) return;
  for (int warp = 1; warp < kJoiningWarps; ++warp) {
    const C other = sums[32 * warp + lane_index()];
    sum += other;
  }
  out[column] = T(sum);
}

template <class T>
void join_parts(const char* name, void* stream, int64_t parts, int64_t stride, int64_t cols,
                const compute_t<T>* partials, T* out) {
  if (out == nullptr || cols == 0) return;
  const LaunchShape shape{{static_cast<uint32_t>(ceil_div(cols, 32))},
                          {32 * kJoiningWarps},
                          32 * kJoiningWarps * sizeof(compute_t<T>)};
  launch(name, join_kernel<T>, shape, static_cast<Stream>(stream), parts, stride, cols, partials,
         out);
}

}  // namespace plinth::kernels::cuda
