#pragma once

// What a consumer warpgroup does to the 64 x kKeys scores that wgmma leaves in its registers
// (device/operand.h says where). A thread has two rows, `h` = 0 and 1, that are 8 apart.

#include <limits>

#include "kernels/attention/hopper/work.cuh"
#include "kernels/attention/score.cuh"

namespace plinth::kernels::cuda::attention {

inline constexpr float kNever = -std::numeric_limits<float>::infinity();

// Of accumulator i: which of the thread's rows it lies in.
PLINTH_DEVICE constexpr int row_half(int i) {
  return i % 4 / 2;
}

// The thread's row h of a warpgroup's 64.
PLINTH_DEVICE int32_t own_row(int h) {
  return static_cast<int32_t>(warp_index() % 4 * 16 + lane_index() / 4) + 8 * h;
}
// The column of accumulator i.
PLINTH_DEVICE int32_t own_column(int i) {
  return i / 4 * 8 + static_cast<int32_t>(lane_index() % 4) * 2 + i % 2;
}

// The larger of a row's, or the sum, over the four threads that share it.
PLINTH_DEVICE float row_most(float x) {
  x = std::fmax(x, shuffle_xor(x, 1));
  return std::fmax(x, shuffle_xor(x, 2));
}
PLINTH_DEVICE float row_sum(float x) {
  x += shuffle_xor(x, 1);
  return x + shuffle_xor(x, 2);
}

// The online softmax of the thread's two rows. The largest score so far is brought up to date only
// when it has grown by more than kSlack: until then weights may be as large as 2^kSlack, which
// costs no precision and saves scaling the sums of values. Whether it moves is each row's own
// affair, so that no row's bits depend on its neighbours.
struct OnlineSoftmax {
  static constexpr float kSlack = 8;
  float top[2] = {kNever, kNever};
  float total[2] = {0, 0};  // of the thread's columns

  // Makes weights of scores, which `factor` > 0 brings to units of log 2; `decay` is by how much
  // earlier sums shrink.
  template <int half>
  PLINTH_DEVICE void soften(Registers<float, half>& scores, float factor, float (&decay)[2]) {
    PLINTH_UNROLL
    for (int h = 0; h < 2; ++h) {
      // Two chains, each of every other pair.
      float most = scores[2 * h], other = scores[2 * h + 1];
      PLINTH_UNROLL
      for (int i = 4; i < half; i += 4) {
        most = std::fmax(most, scores[i + 2 * h]);
        other = std::fmax(other, scores[i + 2 * h + 1]);
      }
      most = row_most(std::fmax(most, other));
      const bool moves = (most - top[h]) * factor > kSlack;
      decay[h] = moves ? fast_exp2((top[h] - most) * factor) : 1.0f;
      if (moves) top[h] = most;
      // A row that has seen no key yet keeps 2^(-inf - 0) = 0.
      const float origin = top[h] == kNever ? 0.0f : top[h] * factor;
      float sum = 0;
      PLINTH_UNROLL
      for (int i = 0; i < half; i += 4) {
        PLINTH_UNROLL
        for (int e = 2 * h; e < 2 * h + 2; ++e) {
          const float weight = fast_exp2(scores[i + e] * factor - origin);
          scores[i + e] = weight;
          sum += weight;
        }
      }
      total[h] = total[h] * decay[h] + sum;
    }
  }

  // What the row's sums of values are to be multiplied with at the end, with a sink in units of
  // log 2 (kNever: none); and its lse.
  PLINTH_DEVICE float finish(int h, float factor, float sink, float& lse) {
    const float whole = row_sum(total[h]);
    const float origin = top[h] == kNever ? kNever : top[h] * factor;
    if (sink == kNever) {
      lse = (origin + std::log2(whole)) * std::numbers::ln2_v<float>;
      return whole == 0 ? 0.0f : 1 / whole;
    }
    const float most = std::fmax(origin, sink);
    const float shrink = fast_exp2(origin - most), all = whole * shrink + fast_exp2(sink - most);
    lse = (most + std::log2(all)) * std::numbers::ln2_v<float>;
    return shrink / all;
  }
};

// Scores of pairs that are not seen become -inf, of a tile whose first key is `key`.
template <int half>
PLINTH_DEVICE void hide(Registers<float, half>& scores, const Sight& sight, int32_t first_row,
                        int32_t key) {
  key += own_column(0);  // so that columns are compared as constants
  PLINTH_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int32_t query = first_row + own_row(h);
    const int32_t begin = sight.begin(query) - key, end = sight.end(query) - key;
    PLINTH_UNROLL
    for (int i = 2 * h; i < half; i += 4) {
      PLINTH_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int32_t column = i / 4 * 8 + e;
        if (column < begin || column >= end) scores[i + e] = kNever;
      }
    }
  }
}

// Products become scores in units of log 2, those of pairs that are not seen -inf.
template <int half, class ScoreOf>
PLINTH_DEVICE void score_all(Registers<float, half>& scores, const ScoreOf& score,
                             const Sight& sight, int32_t queries, int32_t first_row, int32_t key) {
  PLINTH_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int32_t query = first_row + own_row(h);
    const int32_t begin = sight.begin(query) - key;
    const int32_t end = query < queries ? sight.end(query) - key : 0;
    PLINTH_UNROLL
    for (int i = 2 * h; i < half; i += 4) {
      PLINTH_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int32_t column = own_column(i + e);
        const bool seen = column >= begin && column < end && score.sees(query, key + column);
        scores[i + e] = seen ? score.at(scores[i + e], query, key + column).value : kNever;
      }
    }
  }
}

// The dropout factors of the thread's pairs in a tile, one Philox block for four keys. Two lanes
// share the four: the even one draws row 0's block, the odd one row 1's, and each hands over the
// half that the other needs.
template <class F>
PLINTH_DEVICE void with_factors(const Dropout<float>& dropout, const Problem& p, int64_t head,
                                int32_t first_row, int32_t key, int columns, F use) {
  const bool odd = lane_index() % 2 == 1;
  const int64_t query = first_row + own_row(odd ? 1 : 0);
  PLINTH_UNROLL
  for (int i = 0; i < columns / 2; i += 4) {
    const int64_t block_key = key + own_column(i) / 4 * 4;
    const Philox4 words = dropout.block(p, head, query, block_key);
    const uint32_t kept_low = odd ? words[2] : words[0], kept_high = odd ? words[3] : words[1];
    const uint32_t sent_low = odd ? words[0] : words[2], sent_high = odd ? words[1] : words[3];
    const uint32_t got_low = shuffle_xor(sent_low, 1), got_high = shuffle_xor(sent_high, 1);
    use(i, dropout.factor(odd ? got_low : kept_low));
    use(i + 1, dropout.factor(odd ? got_high : kept_high));
    use(i + 2, dropout.factor(odd ? kept_low : got_low));
    use(i + 3, dropout.factor(odd ? kept_high : got_high));
  }
}

}  // namespace plinth::kernels::cuda::attention
