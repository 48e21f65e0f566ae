#pragma once

// What a block of the GPU's attention kernels works on: one tile of one batch element, or of one
// sequence of a packed batch; and what the mask shows there.

#include "kernels/attention/attention_cuda.h"
#include "kernels/philox_place.cuh"
#include "kernels/rows_cuda.cuh"

namespace plinth::kernels::cuda::attention {

// The description's arrays, on the device.
struct Lengths {
  Global<const int64_t> kv_lengths, cu_seqlens_q, cu_seqlens_k;
};

struct Range {
  int64_t begin, end;
};

PLINTH_DEVICE int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}
PLINTH_DEVICE int64_t greatest(int64_t a, int64_t b) {
  return a > b ? a : b;
}

struct Problem {
  int64_t batch;             // index into the strides
  int64_t sample;            // for dropout, relative to philox.sample
  int64_t q_begin, k_begin;  // first rows
  int64_t q_len, kv_len;     // rows
  int64_t kv_visible;        // keys that are not padding
  int64_t first;             // row of the tile; beyond the rows where the block has no work

  // The keys that query i sees, an interval whose ends do not decrease with i.
  PLINTH_DEVICE Range keys_of(const AttentionDesc& d, int64_t i) const {
    const int64_t diagonal = i + kv_len - q_len;
    Range keys{0, kv_visible};
    if (d.window > 0) keys.begin = greatest(0, diagonal - d.window + 1);
    if (d.causal) {
      keys.end = least(keys.end, diagonal + 1);
    } else if (d.window > 0) {
      keys.end = least(keys.end, diagonal + d.window);
    }
    keys.end = greatest(keys.end, 0);
    return keys;
  }

  // The queries between the first and the last that see some key of [j, last].
  PLINTH_DEVICE Range queries_of(const AttentionDesc& d, int64_t j, int64_t last) const {
    if (j >= kv_visible) return {0, 0};
    const int64_t offset = kv_len - q_len;
    Range queries{0, q_len};
    if (d.causal) {
      queries.begin = greatest(0, j - offset);
    } else if (d.window > 0) {
      queries.begin = greatest(0, j - offset - d.window + 1);
    }
    if (d.window > 0) queries.end = least(queries.end, last - offset + d.window);
    return queries;
  }
};

// How many tiles of `rows` rows cover a side of all problems. In a packed batch sequence s has
// tiles cu[s] / rows + s and on, which leaves it as many as it can need: ceil(length / rows).
inline int64_t tiles_of(const AttentionDesc& d, int64_t length, int64_t rows) {
  return d.cu_seqlens_q != nullptr ? length / rows + d.sequences : d.batch * ceil_div(length, rows);
}

// Of a batch that is not packed, the tile of queries or of keys that begins at row `first`.
PLINTH_DEVICE Problem problem_of(const AttentionDesc& d, const Lengths& lengths, int64_t batch,
                                 int64_t first) {
  int64_t visible = d.kv_len;
  if (lengths.kv_lengths) {
    const int64_t length = lengths.kv_lengths[batch];
    visible = least(visible, greatest(0, length));
  }
  return {batch, batch, 0, 0, d.q_len, d.kv_len, visible, first};
}

// Tile `number` of those, of queries or of keys.
PLINTH_DEVICE Problem problem_of(const AttentionDesc& d, const Lengths& lengths, int64_t number,
                                 int64_t rows, bool of_keys) {
  if (!lengths.cu_seqlens_q) {
    const int64_t tiles = ceil_div(of_keys ? d.kv_len : d.q_len, rows);
    return problem_of(d, lengths, number / tiles, number % tiles * rows);
  }
  const Global<const int64_t> starts = of_keys ? lengths.cu_seqlens_k : lengths.cu_seqlens_q;
  const auto first_tile = [&](int64_t sequence) {
    const int64_t start = starts[sequence];
    return start / rows + sequence;
  };
  int64_t sequence = 0, beyond = d.sequences;
  while (beyond - sequence > 1) {
    const int64_t middle = (sequence + beyond) / 2;
    (first_tile(middle) <= number ? sequence : beyond) = middle;
  }
  const int64_t q = lengths.cu_seqlens_q[sequence], q_end = lengths.cu_seqlens_q[sequence + 1];
  const int64_t k = lengths.cu_seqlens_k[sequence], k_end = lengths.cu_seqlens_k[sequence + 1];
  return {0,         sequence,  q,         k,
          q_end - q, k_end - k, k_end - k, (number - first_tile(sequence)) * rows};
}

// Row i of a head.
template <class T>
PLINTH_DEVICE Global<T> row_of(Global<T> base, const AttentionDesc::Strides& strides, int64_t batch,
                               int64_t head, int64_t i) {
  return base + (batch * strides.batch + head * strides.head + i * strides.seq);
}

// The factor, 0 or 1 / (1 - p), of weight (query, key). A kernel calls read_place() first.
template <class C>
struct Dropout {
  PhiloxArgument random;
  uint32_t threshold;
  C keep;
  cpu::DropoutWhole whole;

  explicit Dropout(const AttentionDesc& d)
      : random(d.philox),
        threshold(uniform_threshold(d.dropout)),
        keep(1 / (1 - C(d.dropout))),
        whole(d.dropout_whole) {}

  PLINTH_DEVICE void read_place() {
    if (threshold != 0) random.read_place();
  }

  PLINTH_DEVICE bool active() const { return threshold != 0; }

  // The words of keys key / 4 * 4 and on.
  PLINTH_DEVICE Philox4 block(const Problem& p, int64_t head, int64_t query, int64_t key) const {
    return philox(random.stream, random.key.sample + p.sample,
                  whole.block(head, query, key, p.q_len, p.kv_len));
  }
  PLINTH_DEVICE C factor(uint32_t word) const { return word < threshold ? C(0) : keep; }

  PLINTH_DEVICE C factor(const Problem& p, int64_t head, int64_t query, int64_t key) const {
    if (!active()) return 1;
    const Philox4 words = block(p, head, query, key);
    // Selected without an index, which would put the words in memory.
    const uint32_t low = key % 2 == 0 ? words[0] : words[1];
    const uint32_t high = key % 2 == 0 ? words[2] : words[3];
    return factor(key % 4 < 2 ? low : high);
  }
};

}  // namespace plinth::kernels::cuda::attention
