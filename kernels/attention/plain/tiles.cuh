#pragma once

// Tiles of the GPU's plain attention kernels: rows of q, k, v or dout, widened, in shared memory.

#include "kernels/attention/score.cuh"

namespace plinth::kernels::cuda::attention {

inline constexpr int kWarps = 8;
inline constexpr int kThreads = 32 * kWarps;
inline constexpr int kOther = 32;  // rows of a tile of the other side: one a lane

// Rows that a warp, and a block, own. Four share each load of the other side's rows; the tiles of
// float64 would leave no room for as many.
template <class C>
inline constexpr int kRows = sizeof(C) == 8 ? 1 : 4;
template <class C>
inline constexpr int kOwn = kWarps* kRows<C>;

// Columns of a tile: head_dim rounded up to 64, 128 or 256, with zeros. The pitch of its rows is an
// odd number of 16-byte vectors, so that a column of vectors meets every bank.
template <class C, int kColumns>
inline constexpr int kPitch = kColumns + kVectorWidth<C>;

template <class C, int kColumns>
constexpr size_t bytes_of_rows(int rows) {
  return sizeof(C) * kPitch<C, kColumns> * static_cast<size_t>(rows);
}

// Calls f.operator()<columns>() with the least that hold head_dim.
template <class F>
void with_columns(int64_t head_dim, F f) {
  if (head_dim <= 64) return f.template operator()<64>();
  if (head_dim <= 128) return f.template operator()<128>();
  return f.template operator()<256>();
}

// Whether rows of T, so far apart, are whole aligned vectors.
template <class T>
bool whole_rows(const AttentionDesc& d, const AttentionDesc::Strides& s, const T* p) {
  constexpr int64_t kWidth = kVectorWidth<T>;
  return whole_vectors(d.head_dim, p) && s.batch % kWidth == 0 && s.head % kWidth == 0 &&
         s.seq % kWidth == 0;
}

// Copies `rows` rows of head_dim elements, and zeros around them, into a tile of kTileRows.
template <int kTileRows, int kColumns, class T>
PLINTH_DEVICE void load_tile(Global<const T> from, int64_t stride, int64_t rows, int64_t head_dim,
                             bool whole, Shared<compute_t<T>> to) {
  using C = compute_t<T>;
  constexpr int kWidth = kVectorWidth<T>, kPiece = kVectorWidth<C>;
  for (int i = static_cast<int>(thread_index()); i < kTileRows * kColumns / kWidth; i += kThreads) {
    const int row = i / (kColumns / kWidth), x = i % (kColumns / kWidth) * kWidth;
    C v[kWidth] = {};
    if (row < rows && x < head_dim) {
      if (whole) {
        read<T>(from + (row * stride + x), v);
      } else {
        PLINTH_UNROLL
        for (int e = 0; e < kWidth; ++e)
          if (x + e < head_dim) v[e] = C(T(from[row * stride + x + e]));
      }
    }
    PLINTH_UNROLL
    for (int e = 0; e < kWidth; e += kPiece) {
      Vector<C, kPiece> piece;
      PLINTH_UNROLL
      for (int f = 0; f < kPiece; ++f) piece[f] = v[e + f];
      store_shared_vector(to + (row * kPitch<C, kColumns> + x + e), piece);
    }
  }
}

// Products of the warp's rows with the lane's row of the other side.
template <int kColumns, class C>
PLINTH_DEVICE void multiply(Shared<C> own, Shared<C> other, int64_t head_dim,
                            C (&products)[kRows<C>]) {
  using V = Vector<C, kVectorWidth<C>>;
  constexpr int kRowPitch = kPitch<C, kColumns>;
  const Shared<C> rows = own + static_cast<int>(warp_index()) * kRows<C> * kRowPitch;
  const Shared<C> row = other + static_cast<int>(lane_index()) * kRowPitch;
  PLINTH_UNROLL
  for (int r = 0; r < kRows<C>; ++r) products[r] = 0;
  for (int x = 0; x < head_dim; x += V::kSize) {
    const V b = load_vector<V>(row + x);
    PLINTH_UNROLL
    for (int r = 0; r < kRows<C>; ++r) {
      const V a = load_vector<V>(rows + (r * kRowPitch + x));
      PLINTH_UNROLL
      for (int e = 0; e < V::kSize; ++e) products[r] += a[e] * b[e];
    }
  }
}

// Sums over the other side's rows, of the warp's rows: the lane has columns lane, lane + 32, ...
template <class C, int kColumns>
struct Sums {
  C values[kRows<C>][kColumns / 32] = {};

  PLINTH_DEVICE void scale(int r, C factor) {
    PLINTH_UNROLL
    for (int i = 0; i < kColumns / 32; ++i) values[r][i] *= factor;
  }

  // Adds the rows of a tile, times the weights that their lanes hold.
  PLINTH_DEVICE void add(const C (&weights)[kRows<C>], Shared<C> tile) {
    for (int j = 0; j < kOther; ++j) {
      C weight[kRows<C>];
      PLINTH_UNROLL
      for (int r = 0; r < kRows<C>; ++r) weight[r] = shuffle(weights[r], static_cast<uint32_t>(j));
      PLINTH_UNROLL
      for (int i = 0; i < kColumns / 32; ++i) {
        const int column = static_cast<int>(lane_index()) + 32 * i;
        const C value = tile[j * kPitch<C, kColumns> + column];
        PLINTH_UNROLL
        for (int r = 0; r < kRows<C>; ++r) values[r][i] += weight[r] * value;
      }
    }
  }

  template <class T>
  PLINTH_DEVICE void write_row(int r, C factor, int64_t head_dim, Global<T> to) const {
    PLINTH_UNROLL
    for (int i = 0; i < kColumns / 32; ++i) {
      const int column = static_cast<int>(lane_index()) + 32 * i;
      if (column < head_dim) to[column] = T(values[r][i] * factor);
    }
  }
};

// Scores are in units of log 2: exponentials are then powers of two.
PLINTH_DEVICE float power_of_two(float x) {
  return fast_exp2(x);
}
PLINTH_DEVICE double power_of_two(double x) {
  return std::exp2(x);
}

}  // namespace plinth::kernels::cuda::attention
