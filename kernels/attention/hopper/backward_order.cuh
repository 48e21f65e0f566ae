#pragma once

// Which tiles the backward kernel for sm_90a leaves out under a functor's mask, and the order in
// which the others are added to dq: worked out beforehand, so that all warps of all blocks go by
// the same table.

#include "kernels/attention/custom_rule.cuh"
#include "kernels/attention/hopper/backward_tile.cuh"

namespace plinth::kernels::cuda::attention {

// An entry of a tile of keys and one of queries: -1 where no query sees a key; else four times how
// many tiles of keys come before it, two more if none comes after it, and one more if pairs are to
// be asked for. By heads (one, where they are alike), tiles of keys, and all problems' tiles of
// queries. Behind a head's there are, for each tile of queries, the tiles of keys that it meets.
struct BackwardOrder {
  int64_t key_tiles, tiles, heads;

  BackwardOrder(const AttentionDesc& d, int64_t keys, int64_t queries)
      : key_tiles(ceil_div(d.kv_len, keys)),
        tiles(BackwardWorkspace::tiles_of_head(d, queries)),
        heads(d.custom->head_stride == 0 ? 1 : d.heads) {}

  int64_t count() const { return heads * (key_tiles + 1) * tiles; }
  int64_t head_stride() const { return heads == 1 ? 0 : (key_tiles + 1) * tiles; }
};

// Writes the order of a description whose custom has a map.
template <int kKeys, int kQueries>
void backward_order(Stream stream, const AttentionDesc& d, int32_t* order);

// What becomes of one tile of queries of a piece of work.
struct TileTurn {
  int32_t rank;  // how many tiles of keys are added to its dq before
  bool last;     // none is added after it
  bool empty, asks;
};

template <class Tile, class T, class Rule>
PLINTH_DEVICE TileTurn turn_of(const BackwardArguments<T, Rule>& a, const typename Tile::Work& t,
                               int32_t head, int32_t tile) {
  if constexpr (Rule::kMasks) {
    const int64_t number = int64_t{t.first / Tile::kKeys} * a.workspace.tiles + t.first_tile + tile;
    const int32_t entry = a.rule.order[head * a.rule.order_head_stride + number];
    return {entry >> 2, (entry & 2) != 0, entry < 0, (entry & 1) != 0};
  } else {
    return {t.rank(tile), t.is_last(tile), false, false};
  }
}

// Calls f(head, tile, its turn) for each tile of queries of each head that shares the keys, in the
// order in which all warps of a block take them, but those that are left out. `work` gives the
// Tile::Work.
template <class Tile, class T, class Rule, class Get, class F>
PLINTH_DEVICE void each_turn(const BackwardArguments<T, Rule>& a, Get work, F f) {
  const int32_t heads = (work().kv_head + 1) * a.group;
  for (int32_t head = heads - a.group; head < heads; ++head) {
    int32_t tile = work().start;
    for (int32_t left = work().tile_end - work().tile; left > 0; --left) {
      const TileTurn turn = turn_of<Tile>(a, work(), head, tile);
      if (!turn.empty) f(head, tile, turn);
      tile = work().after(tile);
    }
  }
}

}  // namespace plinth::kernels::cuda::attention
