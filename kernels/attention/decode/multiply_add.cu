#include "kernels/attention/decode/split.cuh"

namespace plinth::kernels::cuda::attention::decode {
namespace {

// Products of float32 and float64 by multiply-adds. Every warp has all rows, and a fourth of a
// tile's keys: a key is shared by the lanes with the same number modulo kKeys for its scores, and
// a lane has columns of its own for the sums.
template <class Element, int columns, int rows>
struct MultiplyAdd {
  using T = Element;
  using C = Element;
  static constexpr int kColumns = columns, kRowWarps = 1, kKeyWarps = kWarps;
  static constexpr int kRows = rows, kStep = 1, kBlocks = 2;
  static constexpr int kKeys = kTile<T, kColumns> / kWarps, kShare = 32 / kKeys;
  static constexpr int kRowPitch = kPitch<T, kColumns>;
  static constexpr int kOwn = kRows, kWidth = std::min(kColumns / 32, kVectorWidth<T>);
  static constexpr int kPieces = kColumns / 32 / kWidth;
  using V = Vector<C, kVectorWidth<C>>;

  C top[kRows], total[kRows];

  PLINTH_DEVICE MultiplyAdd(const Arguments<T>& a, const Problem& p, int64_t kv_head, int64_t first,
                            Shared<T> q_tile)
      : a_(a), p_(p), q_(q_tile) {
    PLINTH_UNROLL
    for (int r = 0; r < kRows; ++r) places_[r] = row_number(a, kv_head, first + r);
    clear();
  }

  PLINTH_DEVICE static int row_warp() { return 0; }
  PLINTH_DEVICE static int key_warp() { return static_cast<int>(warp_index()); }
  PLINTH_DEVICE static int row(int i) { return i; }
  PLINTH_DEVICE static int column(int piece) {
    return (piece * 32 + static_cast<int>(lane_index())) * kWidth;
  }
  // Whether the thread writes what its row's threads all know.
  PLINTH_DEVICE static bool speaks() { return lane_index() == 0; }

  PLINTH_DEVICE C& sum(int i, int piece, int e) { return sums_[i][piece * kWidth + e]; }

  PLINTH_DEVICE void clear() {
    PLINTH_UNROLL
    for (int r = 0; r < kRows; ++r) {
      top[r] = -std::numeric_limits<C>::infinity();
      total[r] = 0;
      PLINTH_UNROLL
      for (int x = 0; x < kColumns / 32; ++x) sums_[r][x] = 0;
    }
  }

  PLINTH_DEVICE void scale(int r, C factor) {
    PLINTH_UNROLL
    for (int x = 0; x < kColumns / 32; ++x) sums_[r][x] *= factor;
  }

  PLINTH_DEVICE void add(Shared<T> k, Shared<T> v, int key) {
    const int first = key_warp() * kKeys;
    C weights[kRows];
    multiply(k + (first + own_key()) * kRowPitch, weights);
    PLINTH_UNROLL
    for (int r = 0; r < kRows; ++r) soften(r, key + first + own_key(), weights[r]);
    add_values(v + first * kRowPitch, weights);
  }

  // Each lane has summed the weights of its own key.
  PLINTH_DEVICE void add_lanes() {
    PLINTH_UNROLL
    for (int r = 0; r < kRows; ++r) total[r] = over_keys<Sum>(total[r]);
  }

 private:
  PLINTH_DEVICE static int own_key() { return static_cast<int>(lane_index()) % kKeys; }

  template <class Op>
  PLINTH_DEVICE static C over_keys(C value) {
    PLINTH_UNROLL
    for (uint32_t distance = kKeys / 2; distance > 0; distance /= 2)
      value = Op{}(value, shuffle_xor(value, distance));
    return value;
  }

  PLINTH_DEVICE void multiply(Shared<T> k_row, C (&products)[kRows]) const {
    PLINTH_UNROLL
    for (int r = 0; r < kRows; ++r) products[r] = 0;
    const int share = static_cast<int>(lane_index()) / kKeys;
    for (int x = share * V::kSize; x < a_.d.head_dim; x += kShare * V::kSize) {
      const V key = load_vector<V>(k_row + x);
      PLINTH_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const V query = load_vector<V>(q_ + (r * kRowPitch + x));
        PLINTH_UNROLL
        for (int e = 0; e < V::kSize; ++e) products[r] += query[e] * key[e];
      }
    }
    PLINTH_UNROLL
    for (uint32_t distance = kKeys; distance < 32; distance *= 2) {
      PLINTH_UNROLL
      for (int r = 0; r < kRows; ++r) products[r] += shuffle_xor(products[r], distance);
    }
  }

  // The product of row r and key j becomes a weight; the sums so far shrink.
  PLINTH_DEVICE void soften(int r, int j, C& score) {
    const Query<T> query = query_of(a_, p_, places_[r]);
    score = query.sees(j) ? query.score.at(score, query.position, j).value
                          : -std::numeric_limits<C>::infinity();
    const C most = Max{}(top[r], over_keys<Max>(score));
    const C origin = origin_of(most), decay = power_of_2(top[r] - origin);
    top[r] = most;
    score = power_of_2(score - origin);
    total[r] = total[r] * decay + score;
    scale(r, decay);
  }

  PLINTH_DEVICE void add_values(Shared<T> v, const C (&weights)[kRows]) {
    using Piece = Vector<C, kWidth>;
    PLINTH_UNROLL
    for (int j = 0; j < kKeys; ++j) {
      C weight[kRows];
      PLINTH_UNROLL
      for (int r = 0; r < kRows; ++r) weight[r] = shuffle(weights[r], static_cast<uint32_t>(j));
      PLINTH_UNROLL
      for (int n = 0; n < kPieces; ++n) {
        if (column(n) >= a_.d.head_dim) continue;
        const Piece value = load_vector<Piece>(v + (j * kRowPitch + column(n)));
        PLINTH_UNROLL
        for (int r = 0; r < kRows; ++r) {
          PLINTH_UNROLL
          for (int e = 0; e < kWidth; ++e) sum(r, n, e) += weight[r] * value[e];
        }
      }
    }
  }

  const Arguments<T>& a_;
  const Problem& p_;
  Shared<T> q_;
  Row places_[kRows];
  C sums_[kRows][kColumns / 32];
};

}  // namespace

template <class T>
void run_splits(Stream stream, const Arguments<T>& a) {
  constexpr int kMostRows = 32 / static_cast<int>(sizeof(T));
  const bool one = a.d.heads / a.d.kv_heads * a.d.q_len == 1;
  with_columns(a.d.head_dim, [&]<int kColumns>() {
    if (one) {
      launch_splits<MultiplyAdd<T, kColumns, 1>>(stream, a);
    } else {
      launch_splits<MultiplyAdd<T, kColumns, kMostRows>>(stream, a);
    }
  });
}

template void run_splits<float>(Stream, const Arguments<float>&);
template void run_splits<double>(Stream, const Arguments<double>&);

}  // namespace plinth::kernels::cuda::attention::decode
