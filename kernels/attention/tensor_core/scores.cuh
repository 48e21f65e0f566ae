#pragma once

// Scores in the registers of a warp: what the mask leaves, what the description adds, dropout.

#include "kernels/attention/custom_rule.cuh"
#include "kernels/attention/tensor_core/tiles.cuh"

namespace plinth::kernels::cuda::attention::tensor_core {

// Which keys a query sees: those that are there, with low <= key - query <= high.
struct Mask {
  int low, high, q_len, kv_visible;

  PLINTH_DEVICE Mask(const AttentionDesc& d, const Problem& p)
      : q_len(static_cast<int>(p.q_len)), kv_visible(static_cast<int>(p.kv_visible)) {
    constexpr int kFar = 1 << 30;
    const int offset = static_cast<int>(p.kv_len - p.q_len);
    const int window = static_cast<int>(least(d.window, int64_t{kFar}));
    low = offset - (window > 0 ? window - 1 : kFar);
    high = d.causal ? offset : offset + (window > 0 ? window - 1 : kFar);
  }

  PLINTH_DEVICE bool sees(int query, int key) const {
    return query < q_len && key < kv_visible && key - query >= low && key - query <= high;
  }
  // Whether all of so many queries see all of so many keys; whether any may see one.
  PLINTH_DEVICE bool all(int query, int queries, int key, int keys) const {
    return query + queries <= q_len && key + keys <= kv_visible &&
           key - (query + queries - 1) >= low && key + keys - 1 - query <= high;
  }
  PLINTH_DEVICE bool any(int query, int queries, int key, int keys) const {
    return query < q_len && key < kv_visible && key + keys - 1 - query >= low &&
           key - (query + queries - 1) <= high;
  }
};

// The tile of the block. Those of the last queries, which see the most keys where the mask is
// causal, begin first.
PLINTH_DEVICE int64_t tile_number(const AttentionDesc& d) {
  const int64_t number = block_index().x, last = static_cast<int64_t>(grid_blocks().x) - 1;
  return d.causal ? last - number : number;
}

struct Nothing {};

template <class T>
PLINTH_DEVICE Nothing score_of(const Scaled<T>&, const Problem&, int64_t) {
  return {};
}
template <class T>
PLINTH_DEVICE ScoreOfHead<T> score_of(const Described<T>& described, const Problem& p,
                                      int64_t head) {
  return described.of(p, head);
}

template <class T, class F>
PLINTH_DEVICE CustomScoreOfHead<T, F> score_of(const Custom<T, F>& custom, const Problem& p,
                                               int64_t head) {
  return custom.of(p, head);
}

// The pairs of one head of one problem. Rows of scores are queries and columns keys, or the other
// way where kKeysInRows.
template <class T, template <class> class Scores, bool kKeysInRows>
struct Pairs {
  static constexpr bool kScaleOnly = Scores<T>::kScaleOnly, kMasks = Scores<T>::kMasks;
  using Score = decltype(score_of(std::declval<const Scores<T>&>(), std::declval<const Problem&>(),
                                  int64_t{}));
  const Dropout<float>& dropout;
  Mask mask;
  // For dropout.
  int head, sample, kv_len;
  float unit;  // of scores, in log 2
  Score score;

  PLINTH_DEVICE Pairs(const AttentionDesc& d, const Problem& p, const Dropout<float>& drop,
                      const Scores<T>& described, float in_log2, int64_t of_head)
      : dropout(drop),
        mask(d, p),
        head(static_cast<int>(of_head)),
        sample(static_cast<int>(p.sample)),
        kv_len(static_cast<int>(p.kv_len)),
        unit(in_log2),
        score(score_of(described, p, of_head)) {}

  // From now on the pairs of this head of the same problem.
  PLINTH_DEVICE void set_head(const Scores<T>& described, int batch, int of_head) {
    if constexpr (!kScaleOnly) {
      head = of_head;
      score = score_of(described, Problem{batch, sample, 0, 0, mask.q_len, kv_len, 0, 0}, head);
    }
  }

  // Whether a functor shows the block some pair of a tile; without one, whatever the mask leaves.
  // Its pairs are those that are asked for next.
  PLINTH_DEVICE bool enter(const Scores<T>& described, int query, int queries, int key, int keys) {
    if constexpr (kMasks) {
      return described.look(score, {query, query + queries}, {key, key + keys}) !=
             BlockSight::Empty;
    } else {
      return true;
    }
  }
  PLINTH_DEVICE bool sees(int query, int key) const {
    if constexpr (kMasks) {
      return mask.sees(query, key) && score.sees(query, key);
    } else {
      return mask.sees(query, key);
    }
  }

  PLINTH_DEVICE static int row_of_element(int first, int m, int e) {
    return first + 16 * m + e / 2 * 8 + static_cast<int>(lane_index() / 4);
  }
  PLINTH_DEVICE static int column_of_element(int first, int n, int e) {
    return first + 8 * n + static_cast<int>(lane_index() % 4) * 2 + e % 2;
  }

  template <int kM, int kN>
  PLINTH_DEVICE bool sees_all(const Sums<kM, kN>&, int row, int column) const {
    return kKeysInRows ? mask.all(column, 8 * kN, row, 16 * kM)
                       : mask.all(row, 16 * kM, column, 8 * kN);
  }
  template <int kM, int kN>
  PLINTH_DEVICE bool sees_any(const Sums<kM, kN>&, int row, int column) const {
    return kKeysInRows ? mask.any(column, 8 * kN, row, 16 * kM)
                       : mask.any(row, 16 * kM, column, 8 * kN);
  }

  // Makes scores, in `unit`s, of products; -inf where a query does not see a key.
  template <int kM, int kN>
  PLINTH_DEVICE void score_products(Sums<kM, kN>& products, int row, int column) const {
    if (kScaleOnly && sees_all(products, row, column)) return;
    PLINTH_UNROLL
    for (int n = 0; n < kN; ++n) {
      PLINTH_UNROLL
      for (int m = 0; m < kM; ++m) {
        PLINTH_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int query = row_of_element(row, m, e), key = column_of_element(column, n, e);
          float& x = products.values[m][n][e];
          if (!sees(query, key)) {
            x = -std::numeric_limits<float>::infinity();
          } else if constexpr (!kScaleOnly) {
            x = score.at(x, query, key).value;
          }
        }
      }
    }
  }

  // Makes 0 of the weights that dropout takes.
  template <int kM, int kN>
  PLINTH_DEVICE void drop(Sums<kM, kN>& weights, int row, int column) const {
    if constexpr (!kScaleOnly) {
      if (dropout.threshold == 0) return;
      PLINTH_UNROLL
      for (int m = 0; m < kM; ++m) {
        PLINTH_UNROLL
        for (int n = 0; n < kN; ++n) {
          const uint32_t kept = kept_elements(row + 16 * m, column + 8 * n);
          PLINTH_UNROLL
          for (int e = 0; e < 4; ++e)
            if ((kept >> e & 1) == 0) weights.values[m][n][e] = 0;
        }
      }
    }
  }

  // Makes weights of products q . k, with dropout, and dx of products dout . v. `stats` knows the
  // queries' lse (of lse_of_weights()) and delta.
  template <int kM, int kN, class Stats>
  PLINTH_DEVICE void differentiate(Sums<kM, kN>& products, Sums<kM, kN>& slopes, int row,
                                   int column, const Stats& stats) const {
    const bool all = kScaleOnly && sees_all(products, row, column);
    PLINTH_UNROLL
    for (int n = 0; n < kN; ++n) {
      const auto of_column = stats.of_column(n);
      PLINTH_UNROLL
      for (int m = 0; m < kM; ++m) {
        uint32_t kept = 0xf;
        if (!kScaleOnly && dropout.threshold != 0)
          kept = kept_elements(row + 16 * m, column + 8 * n);
        PLINTH_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int r = row_of_element(row, m, e), c = column_of_element(column, n, e);
          const int query = kKeysInRows ? c : r, key = kKeysInRows ? r : c;
          const bool seen = all || sees(query, key);
          const float lse = of_column.lse(m, e), delta = of_column.delta(m, e);
          float& x = products.values[m][n][e];
          float& slope = slopes.values[m][n][e];
          if constexpr (kScaleOnly) {
            const float weight = seen ? fast_exp2(x * unit - lse) : 0.0f;
            slope = weight * (slope - delta);
            x = weight;
          } else {
            const cuda::attention::Score<float> s =
                seen ? score.at(x, query, key) : cuda::attention::Score<float>{0, 0};
            const float weight = seen ? fast_exp2(s.value - lse) : 0.0f;
            const float factor = (kept >> e & 1) != 0 ? dropout.keep : 0.0f;
            slope = weight * (factor * slope - delta) * s.slope;
            x = factor * weight;
          }
        }
      }
    }
  }

 private:
  // Bit e: whether the weight of element e of 16 x 8 stays. The lanes that hold the four keys of a
  // Philox block draw as many blocks between them, one each.
  PLINTH_DEVICE uint32_t kept_elements(int row, int column) const {
    const int lane = static_cast<int>(lane_index());
    if constexpr (kKeysInRows) {
      // Lanes 4 apart hold consecutive keys, of two queries and two blocks of keys.
      const int number = lane / 4 % 4;
      const uint32_t mine =
          kept_keys(column + lane % 4 * 2 + number % 2, row + lane / 16 * 4 + number / 2 * 8);
      uint32_t all = mine << (4 * number);
      all |= shuffle_xor(all, 4);
      all |= shuffle_xor(all, 8);
      uint32_t kept = 0;
      PLINTH_UNROLL
      for (int e = 0; e < 4; ++e) kept |= (all >> (4 * e + number) & 1) << e;
      return kept;
    } else {
      // Two lanes hold the four keys of two queries.
      const int second = lane % 2;
      const uint32_t mine = kept_keys(row + lane / 4 + 8 * second, column + lane % 4 / 2 * 4);
      const uint32_t other = shuffle_xor(mine, 1);
      return second == 0 ? (mine & 3) | (other & 3) << 2 : other >> 2 | (mine & 12);
    }
  }

  // Bit b: whether the weight of the query and key `key` + b stays.
  PLINTH_DEVICE uint32_t kept_keys(int query, int key) const {
    const int64_t block = dropout.whole.block(head, query, key, mask.q_len, kv_len);
    const Philox4 words = philox(dropout.random.stream, dropout.random.key.sample + sample, block);
    uint32_t kept = 0;
    PLINTH_UNROLL
    for (int b = 0; b < 4; ++b) kept |= (words[b] < dropout.threshold ? 0u : 1u) << b;
    return kept;
  }
};

}  // namespace plinth::kernels::cuda::attention::tensor_core
