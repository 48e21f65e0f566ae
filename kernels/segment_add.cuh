#pragma once

// out[o, id, :] += the sum of x[o, i, :] over the i with index[i] = id, in the order of i. Only for
// the .cu files of index and embedding.
//
// The sorted indices are cut into pieces of 64. A run of equal indices is added to `out` by the
// piece in which it starts; a piece whose first run started earlier writes that part of it to a row
// of its own, and a second kernel adds these rows to `out` in the order of the pieces. A thread has
// a vector of a line (o, :) and goes through its piece's rows, four on their way at once.

#include <cstdint>

#include "kernels/device_loop.cuh"
#include "kernels/index/sort_cuda.h"

namespace plinth::kernels::cuda {

constexpr int64_t kPiece = 64;
constexpr uint32_t kSegmentThreads = 128;
constexpr int kRowsInFlight = 4;

// Sizes as in IndexShape, and vectors a line.
struct SegmentShape {
  int64_t outer, length, indices, inner;
  Division vectors;  // of a row of `inner`
  int64_t lines;     // outer times vectors
  Division strips;   // blocks that a piece's lines take
};

// A thread's vector: its offset in row 0 of x and of out.
struct SegmentLine {
  bool exists;
  int64_t of_x, of_out, number;
};
template <int W>
PLINTH_DEVICE SegmentLine segment_line(const SegmentShape& shape, uint32_t strip) {
  const int64_t line = static_cast<int64_t>(strip) * kSegmentThreads + thread_index();
  const uint32_t outer = shape.vectors.quotient(static_cast<uint32_t>(line));
  const int64_t column = (line - static_cast<int64_t>(outer) * shape.vectors.divisor) * W;
  return {line < shape.lines, outer * shape.indices * shape.inner + column,
          outer * shape.length * shape.inner + column, line};
}

template <int W, class T>
PLINTH_DEVICE void add_vector(Global<T> to, const compute_t<T> (&sum)[W]) {
  Vector<T, W> before;
  if constexpr (W > 1) {
    before = load_vector<Vector<T, W>>(to);
  } else {
    before[0] = to[0];
  }
  PLINTH_UNROLL
  for (int e = 0; e < W; ++e)
    before[e] = T(static_cast<compute_t<T>>(static_cast<compute_t<T>>(before[e]) + sum[e]));
  if constexpr (W > 1) {
    store_vector(to, before);
  } else {
    to[0] = before[0];
  }
}

template <int W, class X, class Out>
PLINTH_KERNEL void segment_kernel(SegmentShape shape, Global<const uint32_t> keys,
                                  Global<const uint32_t> positions, Global<const X> x,
                                  Global<Out> out, Global<compute_t<Out>> carried) {
  using C = compute_t<Out>;
  const uint32_t piece = shape.strips.quotient(block_index().x);
  const SegmentLine line = segment_line<W>(shape, block_index().x - piece * shape.strips.divisor);
  if (!line.exists) return;
  const int64_t begin = piece * kPiece;
  const int64_t end = begin + kPiece < shape.indices ? begin + kPiece : shape.indices;
  bool is_carried = false;  // whether the run began before this piece
  uint32_t current = keys[begin];
  if (begin > 0) {
    const uint32_t before = keys[begin - 1];
    is_carried = before == current;
  }
  C sum[W] = {};
  const auto finish_run = [&] {
    if (is_carried) {
      PLINTH_UNROLL
      for (int e = 0; e < W; ++e) carried[(piece * shape.lines + line.number) * W + e] = sum[e];
    } else if (current < shape.length) {
      add_vector<W, Out>(out + (line.of_out + current * shape.inner), sum);
    }
  };
  for (int64_t k = begin; k < end; k += kRowsInFlight) {
    uint32_t key[kRowsInFlight];
    Vector<X, W> row[kRowsInFlight];
    PLINTH_UNROLL
    for (int r = 0; r < kRowsInFlight; ++r) {
      if (k + r >= end) continue;
      key[r] = keys[k + r];
      const uint32_t position = positions[k + r];
      const Global<const X> from = x + (line.of_x + position * shape.inner);
      if constexpr (W > 1) {
        row[r] = load_vector<Vector<X, W>>(from);
      } else {
        row[r][0] = from[0];
      }
    }
    PLINTH_UNROLL
    for (int r = 0; r < kRowsInFlight; ++r) {
      if (k + r >= end) continue;
      if (key[r] != current) {
        finish_run();
        current = key[r];
        is_carried = false;
        PLINTH_UNROLL
        for (int e = 0; e < W; ++e) sum[e] = C(0);
      }
      PLINTH_UNROLL
      for (int e = 0; e < W; ++e)
        sum[e] = static_cast<C>(sum[e] + static_cast<C>(static_cast<compute_t<X>>(row[r][e])));
    }
  }
  finish_run();
}

// The piece with the first carried part of a run adds all of them.
template <int W, class Out>
PLINTH_KERNEL void carry_kernel(SegmentShape shape, Global<const uint32_t> keys, Global<Out> out,
                                Global<const compute_t<Out>> carried) {
  using C = compute_t<Out>;
  const int64_t piece = shape.strips.quotient(block_index().x) + 1;  // the first carries nothing
  const SegmentLine line = segment_line<W>(
      shape, block_index().x - static_cast<uint32_t>(piece - 1) * shape.strips.divisor);
  const uint32_t key = keys[piece * kPiece], before = keys[piece * kPiece - 1];
  if (!line.exists || before != key || key >= shape.length) return;
  // The run's part in the piece before is carried too, unless it began there.
  const uint32_t piece_before = keys[(piece - 1) * kPiece];
  if (piece_before == key && piece > 1) {
    const uint32_t earlier = keys[(piece - 1) * kPiece - 1];
    if (earlier == key) return;
  }
  C sum[W] = {};
  for (int64_t p = piece; p * kPiece < shape.indices; ++p) {
    const uint32_t here = keys[p * kPiece];
    if (here != key) break;
    PLINTH_UNROLL
    for (int e = 0; e < W; ++e) {
      const C part = carried[(p * shape.lines + line.number) * W + e];
      sum[e] = static_cast<C>(sum[e] + part);
    }
  }
  add_vector<W, Out>(out + (line.of_out + key * shape.inner), sum);
}

template <class X, class Out>
inline constexpr int kSegmentWidth = 16 / static_cast<int>(std::max(sizeof(X), sizeof(Out)));

inline int64_t pieces_of(int64_t indices) {
  return (indices + kPiece - 1) / kPiece;
}

// Bytes: the sorted indices, then the carried rows.
template <class Out>
size_t segment_add_workspace(int64_t outer, int64_t length, int64_t indices, int64_t inner) {
  const size_t sorted = (sort_indices_workspace(indices, length) + 255) / 256 * 256;
  return sorted + static_cast<size_t>(pieces_of(indices) * outer * inner) * sizeof(compute_t<Out>);
}

template <int W, class X, class Out>
void segment_add_by(void* stream, SegmentShape shape, const SortedIndices& sorted, const X* x,
                    Out* out, compute_t<Out>* carried) {
  const int64_t vectors = shape.inner / W;
  shape.vectors = Division(vectors);
  shape.lines = shape.outer * vectors;
  const int64_t strips = (shape.lines + kSegmentThreads - 1) / kSegmentThreads;
  shape.strips = Division(strips);
  const int64_t pieces = pieces_of(shape.indices);
  const auto s = static_cast<Stream>(stream);
  launch("segment_add", segment_kernel<W, X, Out>,
         {{static_cast<uint32_t>(pieces * strips)}, {kSegmentThreads}, 0}, s, shape, sorted.keys,
         sorted.positions, x, out, carried);
  if (pieces == 1) return;
  launch("segment_carry", carry_kernel<W, Out>,
         {{static_cast<uint32_t>((pieces - 1) * strips)}, {kSegmentThreads}, 0}, s, shape,
         sorted.keys, out, static_cast<const compute_t<Out>*>(carried));
}

// x [outer, indices, inner], out [outer, length, inner]. outer * inner < 2^31.
template <class X, class Out>
void segment_add(void* stream, int64_t outer, int64_t length, int64_t indices, int64_t inner,
                 const int64_t* index, const X* x, Out* out, void* workspace) {
  if (outer == 0 || indices == 0 || inner == 0) return;
  const SortedIndices sorted = sort_indices(stream, indices, length, index, workspace);
  const size_t used = (sort_indices_workspace(indices, length) + 255) / 256 * 256;
  auto* const carried =
      reinterpret_cast<compute_t<Out>*>(static_cast<unsigned char*>(workspace) + used);
  const SegmentShape shape{outer, length, indices, inner, {}, 0, {}};
  constexpr int W = kSegmentWidth<X, Out>;
  const auto aligned = [](const void* p, size_t bytes) {
    return reinterpret_cast<uintptr_t>(p) % bytes == 0;
  };
  if (inner % W == 0 && aligned(x, W * sizeof(X)) && aligned(out, W * sizeof(Out))) {
    segment_add_by<W>(stream, shape, sorted, x, out, carried);
  } else {
    segment_add_by<1>(stream, shape, sorted, x, out, carried);
  }
}

}  // namespace plinth::kernels::cuda
