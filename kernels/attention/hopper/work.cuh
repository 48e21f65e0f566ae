#pragma once

// Which part of a call a block works on: a grid of blocks that stay takes the tiles of queries in
// turn, those with the longest work first.

#include <algorithm>

#include "kernels/attention/problem.cuh"

namespace plinth::kernels::cuda::attention {

// "Far enough": beyond every position, with room to add.
inline constexpr int32_t kFar = int32_t{1} << 30;

PLINTH_DEVICE int32_t least(int32_t a, int32_t b) {
  return a < b ? a : b;
}
PLINTH_DEVICE int32_t greatest(int32_t a, int32_t b) {
  return a > b ? a : b;
}

// The keys that the queries of one problem see: query i sees [begin(i), end(i)).
struct Sight {
  int32_t low, high;  // begin and end beside query 0, before they are cut
  int32_t visible;    // keys that are not padding

  Sight() = default;
  PLINTH_DEVICE Sight(const AttentionDesc& d, const Problem& p)
      : low(-kFar), high(kFar), visible(static_cast<int32_t>(p.kv_visible)) {
    const auto offset = static_cast<int32_t>(p.kv_len - p.q_len);
    const auto window = static_cast<int32_t>(attention::least(d.window, int64_t{kFar}));
    if (window > 0) low = offset - window + 1;
    if (d.causal) {
      high = offset + 1;
    } else if (window > 0) {
      high = offset + window;
    }
  }
  PLINTH_DEVICE int32_t begin(int32_t query) const { return greatest(0, query + low); }
  PLINTH_DEVICE int32_t end(int32_t query) const {
    return greatest(0, least(visible, query + high));
  }
  // The first query that may see keys from `key` on, and the one after the last that may see keys
  // before `last`.
  PLINTH_DEVICE int32_t first_query(int32_t key) const { return greatest(0, key - high + 1); }
  PLINTH_DEVICE int32_t last_query(int32_t last) const { return last - low; }
};

// The order of work: sections of as many heads as have their keys and values in the second cache
// together; within a section the last tiles, which see the most keys where there is a diagonal,
// before the first; within a tile the heads, those of a group together. Where tiles differ in
// length, a block takes the next number of that order whenever it is free, and so ends within a
// short tile's time of the others. Dealt beforehand, blocks end up to a long tile's time apart: by
// bench/attention_model.py 28 % of the whole with 8192 queries of 64 columns below a diagonal. What
// a tile gives does not depend on who makes it.
struct Schedule {
  int32_t tiles = 0;                       // of one head (of a packed batch: of all sequences)
  int32_t heads = 0;                       // of the batch
  int32_t section = 1;                     // heads
  int32_t count = 0;                       // tiles of all heads
  int32_t heads_of_sample = 1, group = 1;  // heads of queries; those that share keys
  Global<int32_t> ticket = {};  // how many numbers were taken after each block's first; or null

  // The number that a block, whose last one was `before` (-1: none), works on next.
  PLINTH_DEVICE int32_t after(int32_t before) const {
    const auto blocks = static_cast<int32_t>(grid_blocks().x);
    if (before < 0) return static_cast<int32_t>(block_index().x);
    return ticket ? blocks + atomic_add(ticket, 1) : before + blocks;
  }
  struct Place {
    int32_t tile, head;
  };
  PLINTH_DEVICE Place place(int32_t number) const {
    const int32_t first = number / (section * tiles) * section;
    const int32_t within = number - first * tiles, width = least(section, heads - first);
    return {tiles - 1 - within / width, first + within % width};
  }
};

inline constexpr int64_t kCachedBytes = int64_t{24} << 20;  // about half of the second cache

// Whether some tiles of queries may see more keys than others.
inline bool tiles_differ(const AttentionDesc& d) {
  return d.causal || d.window > 0 || d.kv_lengths || d.cu_seqlens_q ||
         (d.custom && d.custom->blocks);
}

inline Schedule schedule_of(const AttentionDesc& d, int64_t rows, int64_t element_bytes) {
  const bool packed = d.cu_seqlens_q != nullptr;
  const int64_t group = d.heads / d.kv_heads;
  const int64_t bytes = 2 * d.kv_len * d.head_dim * element_bytes;  // of one key/value head
  const int64_t groups = bytes > 0 ? kCachedBytes / bytes : 1;
  Schedule s;
  s.heads = static_cast<int32_t>(packed ? d.heads : d.batch * d.heads);
  s.tiles = static_cast<int32_t>(packed ? tiles_of(d, d.q_len, rows) : ceil_div(d.q_len, rows));
  s.section =
      static_cast<int32_t>(std::min<int64_t>(s.heads, group * std::max<int64_t>(1, groups)));
  s.count = s.tiles * s.heads;
  s.heads_of_sample = static_cast<int32_t>(d.heads), s.group = static_cast<int32_t>(group);
  return s;
}

// A problem as the warps of a block hand it to each other, and the first row of a tile of it.
struct TileOfProblem {
  int32_t batch, sample;     // as in Problem
  int32_t q_begin, k_begin;  // first rows of the problem
  int32_t q_len, kv_len;
  Sight sight;
  int32_t first;

  TileOfProblem() = default;
  PLINTH_DEVICE TileOfProblem(const AttentionDesc& d, const Problem& p)
      : batch(static_cast<int32_t>(p.batch)),
        sample(static_cast<int32_t>(p.sample)),
        q_begin(static_cast<int32_t>(p.q_begin)),
        k_begin(static_cast<int32_t>(p.k_begin)),
        q_len(static_cast<int32_t>(p.q_len)),
        kv_len(static_cast<int32_t>(p.kv_len)),
        sight(d, p),
        first(static_cast<int32_t>(attention::least(p.first, int64_t{kFar}))) {}

  // As the general parts of attention take it.
  PLINTH_DEVICE Problem problem() const {
    return {batch, sample, q_begin, k_begin, q_len, kv_len, sight.visible, first};
  }
};

// A tile of queries of one head, and the keys that it sees.
struct QueryTile : TileOfProblem {
  int32_t head;
  int32_t rows;              // queries from `first` on; none where the block has nothing to do
  int32_t tile, tile_begin;  // of keys: from tile - 1 down to tile_begin

  QueryTile() = default;
  PLINTH_DEVICE QueryTile(const AttentionDesc& d, const Lengths& lengths, const Schedule& schedule,
                          int32_t number, int32_t tile_rows, int32_t tile_keys)
      : QueryTile(d, lengths, schedule, schedule.place(number), tile_rows, tile_keys) {}

 private:
  PLINTH_DEVICE QueryTile(const AttentionDesc& d, const Lengths& lengths, const Schedule& schedule,
                          const Schedule::Place& place, int32_t tile_rows, int32_t tile_keys)
      : QueryTile(d, at(d, lengths, schedule, place, tile_rows),
                  place.head % schedule.heads_of_sample, tile_rows, tile_keys) {}
  PLINTH_DEVICE static Problem at(const AttentionDesc& d, const Lengths& lengths,
                                  const Schedule& schedule, const Schedule::Place& place,
                                  int32_t tile_rows) {
    if (lengths.cu_seqlens_q) return problem_of(d, lengths, place.tile, tile_rows, false);
    return problem_of(d, lengths, place.head / schedule.heads_of_sample, place.tile * tile_rows);
  }
  PLINTH_DEVICE QueryTile(const AttentionDesc& d, const Problem& p, int32_t head_of_sample,
                          int32_t tile_rows, int32_t tile_keys)
      : TileOfProblem(d, p), head(head_of_sample) {
    rows = greatest(0, least(q_len - first, tile_rows));
    tile_begin = sight.begin(first) / tile_keys;
    tile = greatest(tile_begin, (sight.end(first + rows - 1) + tile_keys - 1) / tile_keys);
  }
};

}  // namespace plinth::kernels::cuda::attention
