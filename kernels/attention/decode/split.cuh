#pragma once

// The kernel of attention of few queries to a cache, around an Engine that multiplies: the walk
// over splits and tiles, and what becomes of a split's sums.

#include <algorithm>

#include "kernels/attention/decode/cache.cuh"

namespace plinth::kernels::cuda::attention::decode {

inline constexpr int kWarps = 4;
inline constexpr int kThreads = 32 * kWarps;

// Keys of a tile: k and v have 16 KiB each in head dimensions 128 and 256, 8 in 64.
template <class T, int kColumns>
inline constexpr int kTile = (kColumns == 256 ? 64 : 128) / static_cast<int>(sizeof(T));

// Rows of shared memory are an odd number of 16-byte vectors apart: columns of vectors meet every
// bank.
template <class T, int kColumns>
inline constexpr int kPitch = kColumns + kVectorWidth<T>;

PLINTH_DEVICE float power_of_2(float x) {
  return fast_exp2(x);
}
PLINTH_DEVICE double power_of_2(double x) {
  return std::exp2(x);
}

// The largest score so far as an origin of exponents: where no key was seen, sums stay 0.
template <class C>
PLINTH_DEVICE C origin_of(C top) {
  return top == -std::numeric_limits<C>::infinity() ? C(0) : top;
}

// What becomes of a row's parts. `sums` [rows, slots, head_dim], tops and totals [rows, slots],
// rows in the order of lse.
template <class C>
struct Parts {
  Global<C> sums{}, tops{}, totals{};
  int64_t slots = 1;
};

template <class T>
struct Arguments {
  using C = compute_t<T>;
  AttentionDesc d;
  Pages pages;
  Described<T> described;
  Parts<C> parts;
  Global<const int64_t> kv_lengths;
  Global<const T> q, k, v;
  Global<T> out;
  Global<C> lse;

  // The keys of a paged sequence end with its own length, those of another may be padded.
  PLINTH_DEVICE Problem problem(int64_t batch) const {
    const int64_t length = length_of(kv_lengths, batch, d.kv_len);
    return {batch, batch, 0, 0, d.q_len, pages ? length : d.kv_len, length, 0};
  }
  // The keys that some query sees.
  PLINTH_DEVICE Range keys(const Problem& p) const {
    return {p.keys_of(d, 0).begin, p.keys_of(d, d.q_len - 1).end};
  }
};

// A row of q of those that share a key/value head: their heads' queries, head by head.
struct Row {
  int64_t head, position;
  bool exists;
};

template <class T>
PLINTH_DEVICE Row row_number(const Arguments<T>& a, int64_t kv_head, int64_t number) {
  const int64_t group = a.d.heads / a.d.kv_heads;
  const bool exists = number < group * a.d.q_len;
  const int64_t n = exists ? number : 0;
  return {kv_head * group + n / a.d.q_len, n % a.d.q_len, exists};
}

// What a row sees; nothing where there is no row.
template <class T>
struct Query {
  int position, first, beyond;  // keys [first, beyond)
  ScoreOfHead<T> score;

  PLINTH_DEVICE bool sees(int key) const { return key >= first && key < beyond; }
};

template <class T>
PLINTH_DEVICE Query<T> query_of(const Arguments<T>& a, const Problem& p, const Row& row) {
  const Range keys = row.exists ? p.keys_of(a.d, row.position) : Range{0, 0};
  return {static_cast<int>(row.position), static_cast<int>(keys.begin), static_cast<int>(keys.end),
          a.described.of(p, row.head)};
}

// A row's sums of values become its result by this factor.
template <class C>
struct Finished {
  C factor, lse;
};

template <class T, class C = compute_t<T>>
PLINTH_DEVICE Finished<C> finished(const Described<T>& described, int64_t head, C top, C total) {
  C decay = 1;
  if (described.has_sinks()) {
    const C sink = described.sink(head), most = Max{}(top, sink), origin = origin_of(most);
    decay = power_of_2(top - origin);
    total = total * decay + power_of_2(sink - origin);
    top = most;
  }
  return {total == 0 ? C(0) : decay / total, (top + std::log2(total)) * std::numbers::ln2_v<C>};
}

// Starts the copies of a tile of k and of v. Rows that no query sees, and columns from head_dim to
// `columns`, become zeros.
template <class T, int kColumns>
PLINTH_DEVICE void copy_tile(const Arguments<T>& a, int64_t batch, int64_t kv_head, Range keys,
                             int64_t key, int64_t columns, Shared<T> k, Shared<T> v) {
  constexpr int kWidth = kVectorWidth<T>, kVectors = kColumns / kWidth;
  constexpr int kRows = kThreads / kVectors;  // at a time
  const int x = static_cast<int>(thread_index()) % kVectors * kWidth;
  if (x >= columns) return;
  PLINTH_UNROLL
  for (int n = 0; n < kTile<T, kColumns> / kRows; ++n) {
    const int row = n * kRows + static_cast<int>(thread_index()) / kVectors;
    const int64_t j = key + row;
    Place place{0, 0, false};
    if (x < a.d.head_dim && j >= keys.begin && j < keys.end) place = place_of(a.pages, batch, j);
    if (!place.exists) place = {0, 0, false};
    const int to = row * kPitch<T, kColumns> + x;
    copy_async<16>(k + to, row_at(a.k, a.d.k, kv_head, place) + x, place.exists);
    copy_async<16>(v + to, row_at(a.v, a.d.v, kv_head, place) + x, place.exists);
  }
}

// Copies the rows of q that a block serves, zeros around them.
template <class T, int kColumns, int kRows>
PLINTH_DEVICE void load_queries(const Arguments<T>& a, const Problem& p, int64_t kv_head,
                                int64_t first, int64_t columns, Shared<T> to) {
  for (int r = static_cast<int>(warp_index()); r < kRows; r += kWarps) {
    const Row row = row_number(a, kv_head, first + r);
    const Global<const T> from = row_of(a.q, a.d.q, p.batch, row.head, row.position);
    for (int x = static_cast<int>(lane_index()); x < columns; x += 32) {
      T value(0);
      if (row.exists && x < a.d.head_dim) value = from[x];
      to[r * kPitch<T, kColumns> + x] = value;
    }
  }
}

// Adds the sums of the warps that share rows but not keys, in order: the last of them then has the
// whole. The tile in `scratch` must be used up.
template <class Engine>
PLINTH_DEVICE void join_warps(Engine& engine, Shared<typename Engine::C> scratch) {
  using C = typename Engine::C;
  using V = Vector<C, Engine::kWidth>;
  constexpr int kKeyWarps = Engine::kKeyWarps, kSums = Engine::kRows * Engine::kColumns;
  const Shared<C> statistics = scratch + kSums;
  PLINTH_UNROLL
  for (int i = 0; i < Engine::kOwn; ++i) {
    if (!engine.speaks()) continue;
    const int at = (engine.row(i) * kKeyWarps + engine.key_warp()) * 2;
    statistics[at] = engine.top[i];
    statistics[at + 1] = engine.total[i];
  }
  block_sync();
  PLINTH_UNROLL
  for (int i = 0; i < Engine::kOwn; ++i) {
    C tops[kKeyWarps], most = -std::numeric_limits<C>::infinity(), total = 0;
    PLINTH_UNROLL
    for (int w = 0; w < kKeyWarps; ++w) {
      tops[w] = statistics[(engine.row(i) * kKeyWarps + w) * 2];
      most = Max{}(most, tops[w]);
    }
    const C origin = origin_of(most);
    PLINTH_UNROLL
    for (int w = 0; w < kKeyWarps; ++w) {
      const C part = statistics[(engine.row(i) * kKeyWarps + w) * 2 + 1];
      total += part * power_of_2(tops[w] - origin);
    }
    engine.scale(i, power_of_2(engine.top[i] - origin));
    engine.top[i] = most;
    engine.total[i] = total;
  }
  // Each lane's sums lie where it finds them in the next warp.
  const Shared<C> mine = scratch + (engine.row_warp() * (kSums / Engine::kRowWarps) +
                                    static_cast<int>(lane_index()) * Engine::kWidth);
  PLINTH_UNROLL
  for (int w = 0; w < kKeyWarps; ++w) {
    if (engine.key_warp() == w) {
      PLINTH_UNROLL
      for (int n = 0; n < Engine::kOwn * Engine::kPieces; ++n) {
        V piece{};
        if (w > 0) piece = load_vector<V>(mine + n * 32 * Engine::kWidth);
        PLINTH_UNROLL
        for (int e = 0; e < Engine::kWidth; ++e) {
          C& sum = engine.sum(n / Engine::kPieces, n % Engine::kPieces, e);
          if (w > 0) sum = piece[e] + sum;
          piece[e] = sum;
        }
        if (w + 1 < kKeyWarps) store_shared_vector(mine + n * 32 * Engine::kWidth, piece);
      }
    }
    if (w + 1 < kKeyWarps) block_sync();
  }
}

// Writes the rows of a thread: the result itself where there is one slot.
template <class Engine, class T>
PLINTH_DEVICE void write_rows(const Arguments<T>& a, const Problem& p, int64_t kv_head,
                              int64_t first, int64_t slot, Engine& engine) {
  using C = compute_t<T>;
  PLINTH_UNROLL
  for (int i = 0; i < Engine::kOwn; ++i) {
    const Row row = row_number(a, kv_head, first + engine.row(i));
    if (!row.exists) continue;
    const int64_t number = (p.batch * a.d.heads + row.head) * a.d.q_len + row.position;
    if (a.parts.slots == 1) {
      const Finished<C> end = finished(a.described, row.head, engine.top[i], engine.total[i]);
      if (engine.speaks()) a.lse[number] = end.lse;
      const Global<T> to = row_of(a.out, a.d.out, p.batch, row.head, row.position);
      PLINTH_UNROLL
      for (int n = 0; n < Engine::kPieces; ++n) {
        if (engine.column(n) >= a.d.head_dim) continue;
        PLINTH_UNROLL
        for (int e = 0; e < Engine::kWidth; ++e)
          to[engine.column(n) + e] = T(engine.sum(i, n, e) * end.factor);
      }
      continue;
    }
    const int64_t part = number * a.parts.slots + slot;
    if (engine.speaks()) {
      a.parts.tops[part] = engine.top[i];
      a.parts.totals[part] = engine.total[i];
    }
    PLINTH_UNROLL
    for (int n = 0; n < Engine::kPieces; ++n) {
      if (engine.column(n) >= a.d.head_dim) continue;
      Vector<C, Engine::kWidth> piece;
      PLINTH_UNROLL
      for (int e = 0; e < Engine::kWidth; ++e) piece[e] = engine.sum(i, n, e);
      store_vector(a.parts.sums + (part * a.d.head_dim + engine.column(n)), piece);
    }
  }
}

// A block (m, n) has splits n, n + blocks, ... of the keys that the queries of a sequence see. Of
// m, the key/value head counts fastest, then the blocks of rows that share one, then the sequence.
template <class Engine, class T = typename Engine::T>
PLINTH_KERNEL_BOUNDS(kThreads, Engine::kBlocks)
PLINTH_KERNEL void split_kernel(Arguments<T> a) {
  using C = compute_t<T>;
  constexpr int kColumns = Engine::kColumns, kTileKeys = kTile<T, kColumns>;
  constexpr int kTileSize = kTileKeys * kPitch<T, kColumns>;
  constexpr int kQuerySize = Engine::kRows * kPitch<T, kColumns>;
  constexpr int kScratchSize = Engine::kRows * (kColumns + 2 * Engine::kKeyWarps);
  static_assert(kScratchSize * sizeof(C) <= 2 * kTileSize * sizeof(T));
  const Shared<T> q_tile = shared_array<T>(0, kQuerySize);
  // A stage holds a tile of k and one of v.
  const auto place = [](int stage) { return sizeof(T) * (kQuerySize + stage * 2 * kTileSize); };
  const auto stage_of = [&](int stage) { return shared_array<T>(place(stage), 2 * kTileSize); };
  const int64_t row_blocks = ceil_div(a.d.heads / a.d.kv_heads * a.d.q_len, Engine::kRows);
  const int64_t kv_head = block_index().x % a.d.kv_heads, line = block_index().x / a.d.kv_heads;
  const int64_t first = line % row_blocks * Engine::kRows;
  const Problem p = a.problem(line / row_blocks);
  const Range keys = a.keys(p);
  const int64_t columns = ceil_div(a.d.head_dim, Engine::kStep) * Engine::kStep;
  const int64_t first_split = keys.begin / kDecodeSplit;
  const auto next = [&](int64_t key) {
    key += kTileKeys;
    return key % kDecodeSplit == 0 ? key + (grid_blocks().y - 1) * kDecodeSplit : key;
  };

  int64_t key = (first_split + block_index().y) * kDecodeSplit;
  if (block_index().y == 0) key = keys.begin / kTileKeys * kTileKeys;
  if (key >= keys.end && a.parts.slots > 1) return;  // the whole block
  if (key < keys.end)
    copy_tile<T, kColumns>(a, p.batch, kv_head, keys, key, columns, stage_of(0),
                           stage_of(0) + kTileSize);
  copy_async_commit();
  load_queries<T, kColumns, Engine::kRows>(a, p, kv_head, first, columns, q_tile);
  Engine engine(a, p, kv_head, first, q_tile);
  for (int stage = 0; key < keys.end; stage ^= 1) {
    const int64_t following = next(key);
    if (following < keys.end) {
      const Shared<T> to = stage_of(stage ^ 1);
      copy_tile<T, kColumns>(a, p.batch, kv_head, keys, following, columns, to, to + kTileSize);
    }
    copy_async_commit();
    copy_async_wait<1>();
    block_sync();
    engine.add(stage_of(stage), stage_of(stage) + kTileSize, static_cast<int>(key));
    block_sync();  // the tile is used up
    if (following >= keys.end || following / kDecodeSplit != key / kDecodeSplit) {
      engine.add_lanes();
      if constexpr (Engine::kKeyWarps > 1) {
        join_warps(engine, shared_array<C>(place(stage), kScratchSize));
      }
      if (engine.key_warp() == Engine::kKeyWarps - 1)
        write_rows(a, p, kv_head, first, key / kDecodeSplit - first_split, engine);
      engine.clear();
      if (Engine::kKeyWarps > 1) block_sync();  // the tile is used up again
    }
    key = following;
  }
  if (keys.begin >= keys.end && engine.key_warp() == Engine::kKeyWarps - 1)
    write_rows(a, p, kv_head, first, 0, engine);
}

// As many blocks as keep the multiprocessors busy while the last ones end.
inline constexpr int64_t kBlocksAMultiprocessor = 16;

template <class Engine, class T = typename Engine::T>
void launch_splits(Stream stream, const Arguments<T>& a) {
  const AttentionDesc& d = a.d;
  const int64_t lines =
      d.batch * ceil_div(d.heads / d.kv_heads * d.q_len, Engine::kRows) * d.kv_heads;
  const int64_t wanted = kBlocksAMultiprocessor * device_limits().multiprocessors;
  const int64_t blocks = std::min(a.parts.slots, ceil_div(wanted, lines));
  const LaunchShape shape{
      {static_cast<uint32_t>(lines), static_cast<uint32_t>(blocks)},
      {kThreads},
      sizeof(T) * kPitch<T, Engine::kColumns> * (Engine::kRows + 4 * kTile<T, Engine::kColumns>)};
  launch("attention_decode", split_kernel<Engine>, shape, stream, a);
}

// Calls f.operator()<columns>() with the least that hold head_dim.
template <class F>
void with_columns(int64_t head_dim, F f) {
  if (head_dim <= 64) return f.template operator()<64>();
  if (head_dim <= 128) return f.template operator()<128>();
  return f.template operator()<256>();
}

// The engines of a float type (tensor_core.cu, multiply_add.cu).
template <class T>
void run_splits(Stream stream, const Arguments<T>& arguments);

}  // namespace plinth::kernels::cuda::attention::decode
