#include "kernels/attention/decode/split.cuh"

namespace plinth::kernels::cuda::attention::decode {
namespace {

// Products of 16-bit types by mma.sync, 16 rows of q and 16 keys at a time: kRowWarps warps divide
// the rows among themselves, and as many times as that goes into kWarps, the keys of a tile.
template <class Element, int columns, int row_warps>
struct TensorCore {
  using T = Element;
  using C = float;
  static constexpr int kColumns = columns, kRowWarps = row_warps, kKeyWarps = kWarps / row_warps;
  static constexpr int kRows = 16 * kRowWarps, kStep = 16;
  static constexpr int kBlocks = kColumns * kRows < 4096 ? 3 : 2;
  static constexpr int kGroups = kTile<T, kColumns> / 16 / kKeyWarps;  // of 16 keys, of a warp
  static constexpr int kRowPitch = kPitch<T, kColumns>;
  // A thread's part of the sums, as mma() lays them out.
  static constexpr int kOwn = 2, kPieces = kColumns / 8, kWidth = 2;

  float top[2], total[2];

  PLINTH_DEVICE TensorCore(const Arguments<T>& a, const Problem& p, int64_t kv_head, int64_t first,
                           Shared<T> q_tile)
      : q_(q_tile + row_warp() * 16 * kRowPitch),
        head_dim_(static_cast<int>(a.d.head_dim)),
        idle_(first + row_warp() * 16 >= a.d.heads / a.d.kv_heads * a.d.q_len),
        queries_{query_of(a, p, row_number(a, kv_head, first + row(0))),
                 query_of(a, p, row_number(a, kv_head, first + row(1)))} {
    clear();
  }

  PLINTH_DEVICE static int row_warp() { return static_cast<int>(warp_index()) % kRowWarps; }
  PLINTH_DEVICE static int key_warp() { return static_cast<int>(warp_index()) / kRowWarps; }
  PLINTH_DEVICE static int row(int i) {
    return row_warp() * 16 + static_cast<int>(lane_index()) / 4 + 8 * i;
  }
  PLINTH_DEVICE static int column(int piece) {
    return piece * 8 + static_cast<int>(lane_index()) % 4 * 2;
  }
  // Whether the thread writes what its row's threads all know.
  PLINTH_DEVICE static bool speaks() { return lane_index() % 4 == 0; }
  PLINTH_DEVICE float& sum(int i, int piece, int e) { return sums_[piece][2 * i + e]; }

  PLINTH_DEVICE void clear() {
    PLINTH_UNROLL
    for (int i = 0; i < 2; ++i) {
      top[i] = -std::numeric_limits<float>::infinity();
      total[i] = 0;
    }
    PLINTH_UNROLL
    for (int n = 0; n < kPieces; ++n) {
      PLINTH_UNROLL
      for (int c = 0; c < 4; ++c) sums_[n][c] = 0;
    }
  }

  PLINTH_DEVICE void scale(int i, float factor) {
    PLINTH_UNROLL
    for (int n = 0; n < kPieces; ++n) {
      sums_[n][2 * i] *= factor;
      sums_[n][2 * i + 1] *= factor;
    }
  }

  PLINTH_DEVICE void add(Shared<T> k, Shared<T> v, int key) {
    if (idle_) return;  // the whole warp
    const int first = key_warp() * kGroups * 16;
    float scores[2 * kGroups][4] = {};
    multiply(k + first * kRowPitch, scores);
    soften(key + first, scores);
    add_values(v + first * kRowPitch, scores);
  }

  // Each lane has summed the weights of its own keys.
  PLINTH_DEVICE void add_lanes() {
    PLINTH_UNROLL
    for (int i = 0; i < 2; ++i) total[i] = over_row<Sum>(total[i]);
  }

 private:
  template <class Op>
  PLINTH_DEVICE static float over_row(float value) {
    value = Op{}(value, shuffle_xor(value, 1));
    return Op{}(value, shuffle_xor(value, 2));
  }

  PLINTH_DEVICE void multiply(Shared<T> k, float (&scores)[2 * kGroups][4]) const {
    const int matrix = static_cast<int>(lane_index()) / 8,
              line = static_cast<int>(lane_index()) % 8;
    const Shared<T> q_row = q_ + ((line + matrix % 2 * 8) * kRowPitch + matrix / 2 * 8);
    const Shared<T> k_row = k + ((line + matrix / 2 * 8) * kRowPitch + matrix % 2 * 8);
    PLINTH_UNROLL
    for (int x = 0; x < kColumns; x += 16) {
      if (x >= head_dim_) continue;
      uint32_t a[4];
      load_matrix(a, q_row + x);
      PLINTH_UNROLL
      for (int g = 0; g < kGroups; ++g) {
        uint32_t b[4];
        load_matrix(b, k_row + (g * 16 * kRowPitch + x));
        mma<T>(scores[2 * g], a, {b[0], b[1]});
        mma<T>(scores[2 * g + 1], a, {b[2], b[3]});
      }
    }
  }

  // Products become weights; the sums so far shrink.
  PLINTH_DEVICE void soften(int key, float (&scores)[2 * kGroups][4]) {
    PLINTH_UNROLL
    for (int i = 0; i < 2; ++i) {
      const Query<T>& query = queries_[i];
      float most = top[i];
      PLINTH_UNROLL
      for (int n = 0; n < 2 * kGroups; ++n) {
        PLINTH_UNROLL
        for (int e = 0; e < 2; ++e) {
          float& score = scores[n][2 * i + e];
          const int j = key + column(n) + e;
          score = query.sees(j) ? query.score.at(score, query.position, j).value
                                : -std::numeric_limits<float>::infinity();
          most = Max{}(most, score);
        }
      }
      most = over_row<Max>(most);
      const float origin = origin_of(most), decay = power_of_2(top[i] - origin);
      top[i] = most;
      total[i] *= decay;
      scale(i, decay);
      PLINTH_UNROLL
      for (int n = 0; n < 2 * kGroups; ++n) {
        PLINTH_UNROLL
        for (int e = 0; e < 2; ++e) {
          float& score = scores[n][2 * i + e];
          score = power_of_2(score - origin);
          total[i] += score;
        }
      }
    }
  }

  PLINTH_DEVICE void add_values(Shared<T> v, const float (&weights)[2 * kGroups][4]) {
    const int matrix = static_cast<int>(lane_index()) / 8,
              line = static_cast<int>(lane_index()) % 8;
    const Shared<T> v_row = v + ((line + matrix % 2 * 8) * kRowPitch + matrix / 2 * 8);
    PLINTH_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      uint32_t a[4];
      PLINTH_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float(&pair)[4] = weights[2 * g + i / 2];
        a[i] = pack<T>(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
      }
      PLINTH_UNROLL
      for (int x = 0; x < kColumns; x += 16) {
        if (x >= head_dim_) continue;
        uint32_t b[4];
        load_matrix_transposed(b, v_row + (g * 16 * kRowPitch + x));
        mma<T>(sums_[x / 8], a, {b[0], b[1]});
        mma<T>(sums_[x / 8 + 1], a, {b[2], b[3]});
      }
    }
  }

  Shared<T> q_;
  int head_dim_;
  bool idle_;  // no rows
  Query<T> queries_[2];
  float sums_[kPieces][4];
};

}  // namespace

template <class T>
void run_splits(Stream stream, const Arguments<T>& a) {
  const bool few = a.d.heads / a.d.kv_heads * a.d.q_len <= 16;
  with_columns(a.d.head_dim, [&]<int kColumns>() {
    if constexpr (kColumns == 256) {
      launch_splits<TensorCore<T, kColumns, 2>>(stream, a);
    } else if (few) {
      launch_splits<TensorCore<T, kColumns, 1>>(stream, a);
    } else {
      launch_splits<TensorCore<T, kColumns, 4>>(stream, a);
    }
  });
}

template void run_splits<BFloat16>(Stream, const Arguments<BFloat16>&);
template void run_splits<Float16>(Stream, const Arguments<Float16>&);

}  // namespace plinth::kernels::cuda::attention::decode
