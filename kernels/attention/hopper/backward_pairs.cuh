#pragma once

// What the backward kernels for sm_90a do thread by thread: the score of one pair, the dropout of a
// few, and numbers put into shared memory and read again by the same thread.

#include "kernels/attention/hopper/backward_tile.cuh"
#include "kernels/attention/hopper/softmax.cuh"

namespace plinth::kernels::cuda::attention {

// The score of a product, -inf where the pair is not seen.
template <class Work, class ScoreOf>
PLINTH_DEVICE Score<float> score_of(const Work& t, const ScoreOf& score, float product,
                                    int32_t query, int32_t key) {
  const bool seen = query < t.q_len && key >= t.sight.begin(query) && key < t.sight.end(query) &&
                    score.sees(query, key);
  Score<float> s{kNever, 0};
  if (seen) s = score.at(product, query, key);
  return s;
}
// The factors of the thread's pairs of its two keys, own_row(h), and queries `query`, `query` +
// 1. Four lanes have four keys in turn, of one Philox block: each draws a block, and gives the
// others their words.
PLINTH_DEVICE void draw_factors(const Dropout<float>& dropout, const Problem& p, int32_t head,
                                int32_t query, int32_t first_key, float (&factors)[4]) {
  const uint32_t phase = lane_index() / 4 % 4;
  const int32_t key = first_key + own_row(static_cast<int>(phase / 2)) / 4 * 4;
  const Philox4 words = dropout.block(p, head, query + static_cast<int32_t>(phase % 2), key);
  uint32_t mine[4];  // by the distance of the lane that drew it
  PLINTH_UNROLL
  for (uint32_t distance = 0; distance < 4; ++distance) {
    const uint32_t wanted = phase ^ distance;
    const uint32_t low = wanted % 2 == 0 ? words[0] : words[1];
    const uint32_t high = wanted % 2 == 0 ? words[2] : words[3];
    mine[distance] = shuffle_xor(wanted < 2 ? low : high, 4 * distance);
  }
  PLINTH_UNROLL
  for (uint32_t e = 0; e < 4; ++e) {
    const uint32_t distance = e ^ phase;
    const uint32_t near = distance % 2 == 0 ? mine[0] : mine[1];
    const uint32_t far = distance % 2 == 0 ? mine[2] : mine[3];
    factors[e] = dropout.factor(distance < 2 ? near : far);
  }
}

// Where the warpgroup's threads put accumulators i to i + 3, one thread's beside the next's.
PLINTH_DEVICE Shared<float> four_of(Shared<float> tile, int i) {
  return tile + (i / 4 * 512 + static_cast<int32_t>(thread_index() % 128) * 4);
}
template <int n>
PLINTH_DEVICE void put(Shared<float> tile, Registers<float, n>& sums) {
  PLINTH_UNROLL
  for (int i = 0; i < n; i += 4)
    store_shared_vector(four_of(tile, i),
                        Vector<float, 4>{sums[i], sums[i + 1], sums[i + 2], sums[i + 3]});
}

// sums += what put() has put there
template <int n>
PLINTH_DEVICE void add_from(Shared<float> tile, Registers<float, n>& sums) {
  PLINTH_UNROLL
  for (int i = 0; i < n; i += 4) {
    const auto four = load_vector<Vector<float, 4>>(four_of(tile, i));
    PLINTH_UNROLL
    for (int e = 0; e < 4; ++e) sums[i + e] = four[e] + sums[i + e];
  }
}

}  // namespace plinth::kernels::cuda::attention
