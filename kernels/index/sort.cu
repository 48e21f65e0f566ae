#include <utility>

#include "kernels/device/device.h"
#include "kernels/index/sort_cuda.h"

namespace plinth::kernels::cuda {
namespace {

using namespace plinth::device;

constexpr uint32_t kThreads = 256;
constexpr int kKeysAThread = 8;
constexpr int64_t kTile = int64_t{kThreads} * kKeysAThread;
constexpr int kDigitBits = 4;
constexpr uint32_t kDigits = 1 << kDigitBits;

// Where a pass takes its keys from: the caller's indices in the first, the pass before it later.
struct Source {
  const int64_t* index;
  const uint32_t* keys;
  const uint32_t* positions;
  int64_t count;
  int64_t length;
  int shift;
};

PLINTH_DEVICE uint32_t key_at(const Source& source, int64_t i) {
  if (source.index) {
    const Global<const int64_t> index = source.index;
    const int64_t value = index[i];
    return static_cast<uint32_t>(value >= 0 && value < source.length ? value : source.length);
  }
  const Global<const uint32_t> keys = source.keys;
  return keys[i];
}

PLINTH_DEVICE uint32_t digit_of(const Source& source, uint32_t key) {
  return key >> source.shift & (kDigits - 1);
}

// Writes how often each digit occurs among this thread's keys to counters[digit * kThreads +
// thread].
PLINTH_DEVICE void count_own(const Source& source, int64_t first, Shared<uint32_t> counters,
                             uint32_t (&keys)[kKeysAThread]) {
  PLINTH_UNROLL
  for (uint32_t d = 0; d < kDigits; ++d) counters[d * kThreads + thread_index()] = 0;
  PLINTH_UNROLL
  for (int k = 0; k < kKeysAThread; ++k) {
    if (first + k < source.count) {
      keys[k] = key_at(source, first + k);
      counters[digit_of(source, keys[k]) * kThreads + thread_index()] += 1;
    }
  }
}

PLINTH_KERNEL void count_kernel(Source source, int64_t tiles, Global<uint32_t> counts) {
  const Shared<uint32_t> counters = shared_array<uint32_t>(0, kDigits * kThreads);
  const int64_t tile = block_index().x;
  uint32_t keys[kKeysAThread];
  count_own(source, tile * kTile + static_cast<int64_t>(thread_index()) * kKeysAThread, counters,
            keys);
  block_sync();
  // Sixteen threads a digit.
  const uint32_t digit = thread_index() / 16;
  uint32_t sum = 0;
  for (uint32_t t = thread_index() % 16; t < kThreads; t += 16) {
    const uint32_t counted = counters[digit * kThreads + t];
    sum += counted;
  }
  for (uint32_t distance = 8; distance > 0; distance /= 2) sum += shuffle_xor(sum, distance);
  if (thread_index() % 16 == 0) counts[digit * tiles + tile] = sum;
}

// The sum over lower threads of the block, and all of them. `totals` has room for a warp's each.
struct Scanned {
  uint32_t before, all;
};
PLINTH_DEVICE Scanned scan_block(uint32_t value, Shared<uint32_t> totals) {
  constexpr uint32_t kWarps = kThreads / 32;
  uint32_t through = value;
  for (uint32_t distance = 1; distance < 32; distance *= 2) {
    const uint32_t lane = lane_index();
    const uint32_t below = shuffle(through, lane >= distance ? lane - distance : lane);
    if (lane >= distance) through += below;
  }
  if (lane_index() == 31) totals[warp_index()] = through;
  block_sync();
  Scanned result{through - value, 0};
  PLINTH_UNROLL
  for (uint32_t w = 0; w < kWarps; ++w) {
    const uint32_t total = totals[w];
    if (w < warp_index()) result.before += total;
    result.all += total;
  }
  return result;
}

// counts becomes its exclusive scan: one block, 256 counts a step.
PLINTH_KERNEL void scan_kernel(int64_t n, Global<uint32_t> counts) {
  const Shared<uint32_t> totals = shared_array<uint32_t>(0, kThreads / 32);
  uint32_t carry = 0;
  for (int64_t first = 0; first < n; first += kThreads) {
    const int64_t i = first + thread_index();
    uint32_t value = 0;
    if (i < n) value = counts[i];
    const Scanned scanned = scan_block(value, totals);
    if (i < n) counts[i] = carry + scanned.before;
    carry += scanned.all;
    block_sync();
  }
}

PLINTH_KERNEL void move_kernel(Source source, int64_t tiles, Global<const uint32_t> starts,
                               Global<uint32_t> keys_out, Global<uint32_t> positions_out) {
  const Shared<uint32_t> counters = shared_array<uint32_t>(0, kDigits * kThreads);
  const Shared<uint32_t> totals =
      shared_array<uint32_t>(sizeof(uint32_t) * kDigits * kThreads, kThreads / 32);
  const int64_t tile = block_index().x;
  const int64_t first = tile * kTile + static_cast<int64_t>(thread_index()) * kKeysAThread;
  uint32_t keys[kKeysAThread];
  count_own(source, first, counters, keys);
  block_sync();
  // The exclusive scan of the counters in the order (digit, thread): thread t has those of digit
  // t / 16 and of sixteen threads.
  uint32_t sum = 0;
  PLINTH_UNROLL
  for (uint32_t c = 0; c < kDigits; ++c) {
    const uint32_t counted = counters[thread_index() * kDigits + c];
    sum += counted;
  }
  uint32_t rank = scan_block(sum, totals).before;
  PLINTH_UNROLL
  for (uint32_t c = 0; c < kDigits; ++c) {
    const uint32_t counted = counters[thread_index() * kDigits + c];
    counters[thread_index() * kDigits + c] = rank;
    rank += counted;
  }
  block_sync();
  // A key's place: its digit's start for this tile, and its rank among the tile's keys of that
  // digit, which is its rank in the tile less that of the digit's first.
  uint32_t places[kKeysAThread];
  PLINTH_UNROLL
  for (int k = 0; k < kKeysAThread; ++k) {
    if (first + k >= source.count) continue;
    const uint32_t digit = digit_of(source, keys[k]);
    uint32_t ahead = 0;  // this thread's earlier keys of the same digit
    PLINTH_UNROLL
    for (int j = 0; j < k; ++j) ahead += digit_of(source, keys[j]) == digit ? 1 : 0;
    const uint32_t mine = counters[digit * kThreads + thread_index()];
    const uint32_t digits_first = counters[digit * kThreads];
    const uint32_t start = starts[digit * tiles + tile];
    places[k] = start + (mine + ahead - digits_first);
  }
  PLINTH_UNROLL
  for (int k = 0; k < kKeysAThread; ++k) {
    if (first + k >= source.count) continue;
    uint32_t position = static_cast<uint32_t>(first + k);
    if (source.positions) {
      const Global<const uint32_t> positions = source.positions;
      position = positions[first + k];
    }
    keys_out[places[k]] = keys[k];
    positions_out[places[k]] = position;
  }
}

int64_t tiles_of(int64_t count) {
  return (count + kTile - 1) / kTile;
}

}  // namespace

size_t sort_indices_workspace(int64_t count, int64_t) {
  // Two sets of keys and positions, and the counts.
  return sizeof(uint32_t) * static_cast<size_t>(4 * count + kDigits * tiles_of(count));
}

SortedIndices sort_indices(void* stream, int64_t count, int64_t length, const int64_t* index,
                           void* workspace) {
  auto* const words = static_cast<uint32_t*>(workspace);
  uint32_t *keys = words, *positions = words + count;
  uint32_t *next_keys = words + 2 * count, *next_positions = words + 3 * count;
  uint32_t* const counts = words + 4 * count;
  const int64_t tiles = tiles_of(count);
  if (count == 0) return {keys, positions};
  const auto s = static_cast<Stream>(stream);
  constexpr size_t kCounterBytes = sizeof(uint32_t) * kDigits * kThreads;
  Source source{index, nullptr, nullptr, count, length, 0};
  // One pass at least, which numbers the positions; `length` itself is a key.
  for (int shift = 0; shift == 0 || length >> shift > 0; shift += kDigitBits) {
    source.shift = shift;
    const auto blocks = static_cast<uint32_t>(tiles);
    launch("sort_count", count_kernel, {{blocks}, {kThreads}, kCounterBytes}, s, source, tiles,
           counts);
    launch("sort_scan", scan_kernel, {{1}, {kThreads}, sizeof(uint32_t) * kThreads / 32}, s,
           kDigits * tiles, counts);
    launch("sort_move", move_kernel,
           {{blocks}, {kThreads}, kCounterBytes + sizeof(uint32_t) * kThreads / 32}, s, source,
           tiles, static_cast<const uint32_t*>(counts), next_keys, next_positions);
    std::swap(keys, next_keys);
    std::swap(positions, next_positions);
    source.index = nullptr;
    source.keys = keys;
    source.positions = positions;
  }
  return {keys, positions};
}

}  // namespace plinth::kernels::cuda
