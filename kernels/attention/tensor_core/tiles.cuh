#pragma once

// Tiles of the tensor-core attention kernels: rows of 16-bit elements in shared memory, and the
// matrices that a warp reads of them.

#include "kernels/attention/score.cuh"

namespace plinth::kernels::cuda::attention::tensor_core {

// What a test leaves out of a kernel, to see that it is missed.
enum class Mistake : uint8_t {
  None,
  NoCommit,
  NoWait,
  NoBarrier,
  NoSecondWait,
  NoSecondBarrier,
  NoWarpBarrier,
  CopiesTooEarly
};

// The thread's copies are done, and after the barrier all threads', as is all that they read
// before.
template <bool waits, bool meets>
PLINTH_DEVICE void arrive() {
  if constexpr (waits) copy_async_wait<0>();
  if constexpr (meets) block_sync();
}

inline constexpr int kUnit = 8;  // elements in 16 bytes

// Units of the span in which a tile's rows are permuted.
template <int kColumns>
inline constexpr int kSpanOf = kColumns % 64 == 0 ? 8 : 4;

// What a thread copies of a matrix: a unit of each span of every kStep-th row.
template <class T, int kColumns, int kThreads>
struct Source {
  static constexpr int kSpan = kSpanOf<kColumns>, kStep = kThreads / kSpan;
  Global<const T> next;
  int64_t step;
  int columns;  // from its first unit on

  PLINTH_DEVICE Source(Global<const T> rows, int64_t stride, int64_t head_dim)
      : next(rows + (thread_index() / kSpan * stride + thread_index() % kSpan * kUnit)),
        step(kStep * stride),
        columns(static_cast<int>(head_dim) - static_cast<int>(thread_index() % kSpan) * kUnit) {}

  // Leaves out so many rows, a multiple of kStep.
  PLINTH_DEVICE void skip(int rows) { next = next + rows / kStep * step; }
};

// Rows of kColumns elements. The 16-byte units of each span of 128 bytes of a row are permuted by
// the row's number, so that 8 rows of a column of units lie in different banks. Rows of 192 bytes
// begin in one half of the banks and the other by turns: their spans are 64 bytes, permuted by half
// the row's number.
template <class T, int kColumns>
struct Tile {
  static_assert(sizeof(T) == 2 && kColumns % 32 == 0);
  static constexpr uint32_t kSpan = kSpanOf<kColumns>;
  static constexpr uint32_t kSpans = kColumns / (kUnit * kSpan);
  Shared<T> start;

  // Of `rows` rows from byte `offset` of the shared memory.
  PLINTH_DEVICE Tile(size_t offset, int rows)
      : start(shared_array<T>(offset, static_cast<size_t>(rows) * kColumns)) {}

  PLINTH_DEVICE static uint32_t turn(uint32_t row) { return kSpan == 8 ? row % 8 : row / 2 % 4; }
  // In elements from the start.
  PLINTH_DEVICE static uint32_t place(uint32_t row, uint32_t unit) {
    return row * kColumns + (unit ^ turn(row)) * kUnit;
  }
  PLINTH_DEVICE Shared<T> at(uint32_t row, uint32_t unit) const { return start + place(row, unit); }

  // Starts the copy of the source's next kRows rows, `rows` of which are there; zeros are written
  // for the others and beyond head_dim.
  template <int kRows, int kThreads>
  PLINTH_DEVICE void copy(Source<T, kColumns, kThreads>& source, int rows) const {
    constexpr int kStep = Source<T, kColumns, kThreads>::kStep;
    static_assert(kRows % kStep == 0 && kStep % 8 == 0);
    const int first = static_cast<int>(thread_index() / kSpan);
    const Shared<T> to = at(first, thread_index() % kSpan);
    PLINTH_UNROLL
    for (int row = 0; row < kRows; row += kStep) {
      PLINTH_UNROLL
      for (int span = 0; span < static_cast<int>(kSpans); ++span) {
        constexpr int kWidth = kUnit * kSpan;
        const bool inside = first + row < rows && span * kWidth < source.columns;
        copy_async<16>(to + (row * kColumns + span * kWidth), source.next + span * kWidth, inside);
      }
      source.next = source.next + source.step;
    }
  }

  // Columns 16 step .. 16 step + 15 of the 16 rows from `row`, a multiple of 16, on, as the A of a
  // product.
  PLINTH_DEVICE void load_a(uint32_t row, uint32_t step, uint32_t (&a)[4]) const {
    const uint32_t lane = lane_index();
    load_matrix(a, matrix_row(row, lane % 16, step, lane / 16));
  }
  // The same as two B, whose columns the rows are: registers 0 and 1, 2 and 3.
  PLINTH_DEVICE void load_b(uint32_t row, uint32_t step, uint32_t (&b)[4]) const {
    const uint32_t lane = lane_index();
    load_matrix(b, matrix_row(row, lane / 16 * 8 + lane % 8, step, lane / 8 % 2));
  }
  // The same as two B, whose columns are those of the tile: products are summed along the rows.
  PLINTH_DEVICE void load_b_transposed(uint32_t row, uint32_t step, uint32_t (&b)[4]) const {
    const uint32_t lane = lane_index();
    load_matrix_transposed(b, matrix_row(row, lane % 16, step, lane / 16));
  }

 private:
  // Unit 2 step + half of a row: a few places of the lane, the rest known to the compiler.
  PLINTH_DEVICE Shared<T> matrix_row(uint32_t row, uint32_t of_lane, uint32_t step,
                                     uint32_t half) const {
    const uint32_t unit = (2 * step % kSpan) ^ (half ^ turn(of_lane));
    return start + (of_lane * kColumns + unit * kUnit) +
           (row * kColumns + 2 * step / kSpan * kSpan * kUnit);
  }
};

// What a warp holds of 16 kM rows and 8 kN columns of sums: d of mma.h.
template <int kM, int kN>
struct Sums {
  float values[kM][kN][4] = {};

  // Adds column pair `pair` (16 columns) of a product, of which the lanes hold kM A and two B.
  template <class T>
  PLINTH_DEVICE void add(int pair, const uint32_t (&a)[kM][4], const uint32_t (&b)[4]) {
    PLINTH_UNROLL
    for (int m = 0; m < kM; ++m) {
      PLINTH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const uint32_t column[2] = {b[2 * half], b[2 * half + 1]};
        mma<T>(values[m][2 * pair + half], a[m], column);
      }
    }
  }

  // Columns 16 step .. 16 step + 15, rounded, as the A of another product.
  template <class T>
  PLINTH_DEVICE void as_a(int step, uint32_t (&a)[kM][4]) const {
    PLINTH_UNROLL
    for (int m = 0; m < kM; ++m) {
      PLINTH_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float(&from)[4] = values[m][2 * step + i / 2];
        a[m][i] = pack<T>(from[i % 2 * 2], from[i % 2 * 2 + 1]);
      }
    }
  }

  // Row h (0: lane / 4, 1: that + 8) of the m-th 16 times a factor.
  PLINTH_DEVICE void scale(int m, int h, float factor) {
    PLINTH_UNROLL
    for (int n = 0; n < kN; ++n) {
      values[m][n][2 * h] *= factor;
      values[m][n][2 * h + 1] *= factor;
    }
  }

  PLINTH_DEVICE void scale(float factor) {
    PLINTH_UNROLL
    for (int m = 0; m < kM; ++m) {
      scale(m, 0, factor);
      scale(m, 1, factor);
    }
  }

  // Rounded, into rows `row` and on of a tile that only this warp uses.
  template <class T, int kColumns>
  PLINTH_DEVICE void write(const Tile<T, kColumns>& tile, uint32_t row) const {
    PLINTH_UNROLL
    for (int m = 0; m < kM; ++m) {
      PLINTH_UNROLL
      for (int n = 0; n < kN; ++n) {
        PLINTH_UNROLL
        for (int h = 0; h < 2; ++h) {
          const uint32_t pair = pack<T>(values[m][n][2 * h], values[m][n][2 * h + 1]);
          store_shared_vector(
              tile.at(row + 16 * m + 8 * h + lane_index() / 4, n) + lane_index() % 4 * 2,
              std::bit_cast<Vector<T, 2>>(pair));
        }
      }
    }
  }
};

// The warp's 16 kM rows of a tile as the A of products, which stay in registers if kKept.
template <class T, int kColumns, int kM, bool kKept>
struct OwnRows {
  static constexpr int kSteps = kColumns / 16;
  Tile<T, kColumns> tile;
  uint32_t row;
  uint32_t kept[kKept ? kSteps : 1][kM][4];

  PLINTH_DEVICE OwnRows(const Tile<T, kColumns>& from, uint32_t first) : tile(from), row(first) {}

  // The tile is there.
  PLINTH_DEVICE void keep() {
    if constexpr (kKept) {
      PLINTH_UNROLL
      for (int step = 0; step < kSteps; ++step) read(step, kept[step]);
    }
  }
  PLINTH_DEVICE void read(int step, uint32_t (&a)[kM][4]) const {
    PLINTH_UNROLL
    for (int m = 0; m < kM; ++m) tile.load_a(row + 16 * m, step, a[m]);
  }

  // Adds their products with 8 kN rows of another tile.
  template <int kN>
  PLINTH_DEVICE void multiply(const Tile<T, kColumns>& other, Sums<kM, kN>& sums) const {
    PLINTH_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      uint32_t a[kM][4], b[4];
      if constexpr (!kKept) read(step, a);
      PLINTH_UNROLL
      for (int pair = 0; pair < kN / 2; ++pair) {
        other.load_b(16 * pair, step, b);
        if constexpr (kKept) {
          sums.template add<T>(pair, kept[step], b);
        } else {
          sums.template add<T>(pair, a, b);
        }
      }
    }
  }
};

// Adds weights (rounded) times 8 kN rows of a tile.
template <class T, int kColumns, int kM, int kN>
PLINTH_DEVICE void add_rows(const Sums<kM, kN>& weights, const Tile<T, kColumns>& rows,
                            Sums<kM, kColumns / 8>& sums) {
  PLINTH_UNROLL
  for (int step = 0; step < kN / 2; ++step) {
    uint32_t a[kM][4], b[4];
    weights.template as_a<T>(step, a);
    PLINTH_UNROLL
    for (int pair = 0; pair < kColumns / 16; ++pair) {
      rows.load_b_transposed(16 * step, pair, b);
      sums.template add<T>(pair, a, b);
    }
  }
}

// Stores the warp's kRows rows of a tile from `row`, a multiple of 8, on, `rows` of which are
// there.
template <int kRows, class T, int kColumns>
PLINTH_DEVICE void store_rows(const Tile<T, kColumns>& tile, uint32_t row, Global<T> to,
                              int64_t stride, int rows, int head_dim) {
  constexpr uint32_t kSpan = Tile<T, kColumns>::kSpan, kStep = 32 / kSpan;
  const uint32_t unit = lane_index() % kSpan;
  PLINTH_UNROLL
  for (uint32_t i = 0; i < kRows; i += kStep) {
    const uint32_t r = i + lane_index() / kSpan;
    PLINTH_UNROLL
    for (uint32_t span = 0; span < Tile<T, kColumns>::kSpans; ++span) {
      const uint32_t column = kUnit * (unit + kSpan * span);
      if (static_cast<int>(r) < rows && static_cast<int>(column) < head_dim) {
        store_vector(to + (r * stride + column),
                     load_vector<Vector<T, kUnit>>(tile.at(row + r, unit + kSpan * span)));
      }
    }
  }
}

}  // namespace plinth::kernels::cuda::attention::tensor_core
