#pragma once

// Which work a block of the backward kernel for sm_90a takes, and in which order tiles of keys add
// to dq.

#include "kernels/attention/hopper/work.cuh"

namespace plinth::kernels::cuda::attention {

// Which piece of a problem's work comes when, and which of its tiles of queries first. dq of a tile
// of queries is added tile of keys after tile of keys, so that a block may wait for others' turns,
// and time goes by. It does not where each block comes to a tile just after the one whose turn is
// before:
//
//   Descending  the last tile of keys first, each from its first tile of queries on. Below a
//               diagonal that is where it sees its first query: of blocks that begin at once, that
//               of tile j reaches a tile of queries one tile of keys later than that of j + 1,
//               whose turn is before. The longest pieces of work come last.
//   Ascending   the first tile of keys first, each from its last tile of queries back. Below a
//               diagonal blocks that have ended a Descending head's pieces, the shortest of which
//               is over first, begin one tile of keys apart. So each comes to a tile of queries
//               just after the one before it, and all end together: a short piece is followed by a
//               long one (KeySchedule).
//   Shifted     where all queries see all keys: the block of tile j begins at that share of the
//               queries, and goes around. A block may then wait for any other of its head, so that
//               they must all run at once: no problem is Shifted that has more tiles of keys than
//               the GPU has multiprocessors, and work is dealt beforehand. The first piece of work
//               that is not done is then at hand, with all others of its problem and head.
//
// A problem's order sets the bits of its gradients. So it goes by the problem alone and its head,
// and not by what the batch holds besides.
enum class KeyOrder : int32_t { Descending, Ascending, Shifted };

// The order of all work, by numbers that blocks take one after another. Where problems are
// Descending and Ascending by turns of heads (`together` > 0), work goes by sections: first the
// pieces of so many Descending problems, the shortest of each, then the next longer; then as many
// Ascending ones, the longest first. A section has as many problems as blocks begin at once. Else
// work goes by heads, and from each one's last tile on.
struct KeySchedule {
  int32_t tiles = 0;          // of keys: of one head, all problems
  int32_t count = 0;          // of all heads
  int32_t heads = 1;          // of keys
  int32_t problems = 1;       // of a head, of tiles / problems each, where heads take turns
  int32_t together = 0;       // Descending problems of a section; 0: all problems are
  int32_t shifted_limit = 0;  // tiles of keys that a Shifted problem may have; 0: none is Shifted

  PLINTH_DEVICE KeyOrder order(int32_t head, int32_t key_tiles) const {
    if (shifted_limit > 0 && key_tiles <= shifted_limit) return KeyOrder::Shifted;
    return together > 0 && head % 2 == 1 ? KeyOrder::Ascending : KeyOrder::Descending;
  }
  struct Place {
    int32_t tile, head;  // the tile's number among a head's
  };
  PLINTH_DEVICE Place place(int32_t number) const {
    // A last head that has no partner is Descending.
    if (together == 0 || number >= heads / 2 * 2 * tiles)
      return {tiles - 1 - number % tiles, number / tiles};
    const int32_t tiles_each = tiles / problems;
    const int32_t first = number / (2 * together * tiles_each) * together;
    const int32_t width = least(together, heads / 2 * problems - first);
    int32_t within = number - 2 * first * tiles_each;
    const bool ascending = within >= width * tiles_each;
    if (ascending) within -= width * tiles_each;
    const int32_t pair = first + within % width;
    const int32_t tile = ascending ? within / width : tiles_each - 1 - within / width;
    return {pair % problems * tiles_each + tile, pair / problems * 2 + (ascending ? 1 : 0)};
  }
};

// Turns of the tiles of keys of one problem, of which there are `keys`, at tiles of queries, of
// which there are `queries`, all of which see all keys.
struct ShiftedTurns {
  int32_t keys, queries;

  // Where tile of keys j begins.
  PLINTH_DEVICE int32_t start(int32_t j) const {
    const int32_t tile = (j * queries + keys - 1) / keys;
    return tile < queries ? tile : 0;
  }
  // How many come to a tile of queries before tile of keys j does.
  PLINTH_DEVICE int32_t rank(int32_t query_tile, int32_t j) const {
    const int32_t first = query_tile * keys / queries;
    return j <= first ? first - j : first - j + keys;
  }
};

// The number, among a head's, of a problem's first tile of queries (problem.cuh counts them).
template <int kQueries>
PLINTH_DEVICE int32_t first_query_tile(const AttentionDesc& d, const Lengths& lengths,
                                       int32_t batch, int32_t sample, int32_t q_begin) {
  if (lengths.cu_seqlens_q) return q_begin / kQueries + sample;
  return batch * static_cast<int32_t>((d.q_len + kQueries - 1) / kQueries);
}

// A tile of keys of one key/value head, and the tiles of queries that see them.
template <int kKeys, int kQueries>
struct KeyTile : TileOfProblem {
  int32_t kv_head;
  int32_t rows;            // keys from `first` on; none where the block has nothing to do
  int32_t tile, tile_end;  // of queries
  KeyOrder order;          // the problem's
  int32_t start;           // the tile to begin with
  int32_t first_tile;      // the number of the problem's tile 0

  KeyTile() = default;
  PLINTH_DEVICE KeyTile(const AttentionDesc& d, const Lengths& lengths, const KeySchedule& schedule,
                        int32_t number)
      : KeyTile(d, lengths, schedule, schedule.place(number)) {}

  // The tile after `query_tile`, around all of them.
  PLINTH_DEVICE int32_t after(int32_t query_tile) const {
    if (order == KeyOrder::Ascending) return (query_tile == tile ? tile_end : query_tile) - 1;
    return query_tile + 1 == tile_end ? tile : query_tile + 1;
  }
  // How many tiles of keys come before this one among those that a tile of queries sees.
  PLINTH_DEVICE int32_t rank(int32_t query_tile) const {
    if (order == KeyOrder::Shifted) return turns().rank(query_tile, first / kKeys);
    if (order == KeyOrder::Ascending)
      return first / kKeys - sight.begin(query_tile * kQueries) / kKeys;
    return last_key_tile(sight, query_tile) - first / kKeys;
  }
  // Whether none comes after it.
  PLINTH_DEVICE bool is_last(int32_t query_tile) const {
    if (order == KeyOrder::Shifted) return rank(query_tile) + 1 == key_tiles();
    return first / kKeys == (order == KeyOrder::Ascending
                                 ? last_key_tile(sight, query_tile)
                                 : sight.begin(query_tile * kQueries) / kKeys);
  }
  PLINTH_DEVICE static bool sees_keys(const Sight& sight, int32_t query_tile) {
    return sight.begin(query_tile * kQueries) < sight.end((query_tile + 1) * kQueries - 1);
  }
  // The last tile of keys that a tile of queries, which sees keys, meets.
  PLINTH_DEVICE static int32_t last_key_tile(const Sight& sight, int32_t query_tile) {
    return (sight.end((query_tile + 1) * kQueries - 1) - 1) / kKeys;
  }

 private:
  PLINTH_DEVICE int32_t key_tiles() const { return (sight.visible + kKeys - 1) / kKeys; }
  PLINTH_DEVICE ShiftedTurns turns() const { return {key_tiles(), tile_end}; }

  PLINTH_DEVICE KeyTile(const AttentionDesc& d, const Lengths& lengths, const KeySchedule& schedule,
                        const KeySchedule::Place& place)
      : KeyTile(d, lengths, schedule, problem_of(d, lengths, place.tile, kKeys, true), place.head) {
  }
  PLINTH_DEVICE KeyTile(const AttentionDesc& d, const Lengths& lengths, const KeySchedule& schedule,
                        const Problem& p, int32_t head)
      : TileOfProblem(d, p), kv_head(head) {
    rows = greatest(0, least(kv_len - first, kKeys));
    const int32_t last = least(first + kKeys, sight.visible);
    tile = sight.first_query(first) / kQueries;
    tile_end = first < last
                   ? (greatest(0, least(q_len, sight.last_query(last))) + kQueries - 1) / kQueries
                   : tile;
    tile_end = greatest(tile, tile_end);
    order = schedule.order(head, key_tiles());
    start = order == KeyOrder::Ascending ? tile_end - 1 : tile;
    if (order == KeyOrder::Shifted && tile_end > 0) start = turns().start(first / kKeys);
    first_tile = first_query_tile<kQueries>(d, lengths, batch, sample, q_begin);
  }
};

}  // namespace plinth::kernels::cuda::attention
