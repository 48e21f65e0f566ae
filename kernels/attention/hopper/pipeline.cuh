#pragma once

// How the producer of a Hopper kernel hands tiles to its consumers: a ring of stages, each with an
// mbarrier for "full" and one for "empty".

#include <array>
#include <bit>

#include "kernels/device/device.h"

namespace plinth::kernels::cuda::attention {

using namespace plinth::device;

// Before a function that several places call and that the emulator is to leave out of, or keep, in
// all of them at once (emulate/omission.h).
#if defined(PLINTH_EMULATE) && !defined(__CUDACC__) && !defined(__clang__)
#define PLINTH_ONE_COPY [[gnu::noinline, gnu::noclone, gnu::optimize("no-optimize-sibling-calls")]]
#else
#define PLINTH_ONE_COPY
#endif

// A place in a ring, and the parity of its phase. The producer starts with parity 1: the wait for
// the end of the phase before the first returns at once.
template <int kStages>
struct RingPlace {
  int32_t stage = 0;
  uint32_t parity = 0;

  // After so many steps.
  PLINTH_DEVICE static RingPlace after(int32_t steps) {
    return {steps % kStages, static_cast<uint32_t>(steps / kStages % 2)};
  }
  PLINTH_DEVICE void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// A ring of tiles of kTileBytes, kStages of them, at kOffset bytes of shared memory, and its
// barriers, 2 kStages of them, at kBarriers.
template <class T, int kStages, uint32_t kTileBytes, uint32_t kOffset, uint32_t kBarriers>
struct Ring {
  using Place = RingPlace<kStages>;
  static constexpr uint32_t kEnd = kOffset + kStages * kTileBytes;
  static constexpr uint32_t kBarriersEnd = kBarriers + 2 * kStages * 8;

  PLINTH_DEVICE static Shared<T> tile(const Place& at) {
    return shared_array<T>(kOffset + static_cast<uint32_t>(at.stage) * kTileBytes,
                           kTileBytes / sizeof(T));
  }
  PLINTH_DEVICE static Shared<Mbarrier> full(const Place& at) {
    return shared_array<Mbarrier>(kBarriers + static_cast<uint32_t>(at.stage) * 8, 1);
  }
  PLINTH_DEVICE static Shared<Mbarrier> empty(const Place& at) {
    return shared_array<Mbarrier>(kBarriers + static_cast<uint32_t>(kStages + at.stage) * 8, 1);
  }
  // By one thread, before mbarrier_fence_init().
  PLINTH_DEVICE static void init(uint32_t consumers) {
    for (Place at; at.parity == 0; at.advance()) {
      mbarrier_init(full(at), 1);
      mbarrier_init(empty(at), consumers);
    }
  }
  // The producer's thread: the tile of the next stage, once it is free, which is to get `bytes`.
  PLINTH_DEVICE static Shared<T> start(const Place& at, uint32_t bytes = kTileBytes) {
    mbarrier_wait(empty(at), at.parity ^ 1);
    mbarrier_arrive_expect(full(at), bytes);
    return tile(at);
  }
  // The same in two steps, or where another ring's stage, freed later, has been waited for.
  PLINTH_DEVICE static void wait_free(const Place& at) { mbarrier_wait(empty(at), at.parity ^ 1); }
  PLINTH_DEVICE static Shared<T> start_free(const Place& at) {
    mbarrier_arrive_expect(full(at), kTileBytes);
    return tile(at);
  }
  // The consumers' threads.
  PLINTH_DEVICE static void wait(const Place& at) { mbarrier_wait(full(at), at.parity); }
  PLINTH_DEVICE static void release(const Place& at) {
    if (thread_index() % 128 == 0) mbarrier_arrive(empty(at));
  }
};

// Elements of 16 bits as TMA and wgmma have a tile in shared memory: boxes of kRows rows and
// kBoxColumns columns, one after another, swizzled.
template <int kRows, int kBoxColumns, Swizzle swizzle>
struct Boxes {
  // Where (row, column) lies, which begins a unit of 16 bytes.
  PLINTH_DEVICE static int32_t place(int32_t row, int32_t column) {
    const auto in_box = static_cast<uint32_t>((row * kBoxColumns + column % kBoxColumns) * 2);
    return column / kBoxColumns * kRows * kBoxColumns +
           static_cast<int32_t>(swizzled(in_box, swizzle) / 2);
  }
  // A warpgroup's 64 rows from `row` on of columns 16 step to 16 step + 15, from fragments.
  template <class T>
  PLINTH_DEVICE static void store(Shared<T> tile, int32_t row, int step,
                                  Registers<uint32_t, 4>& fragment) {
    const auto lane = static_cast<int32_t>(lane_index());
    const uint32_t four[4] = {fragment[0], fragment[1], fragment[2], fragment[3]};
    row += static_cast<int32_t>(warp_index() % 4 * 16) + lane % 16;
    store_matrix(tile + place(row, 16 * step + lane / 16 * 8), four);
  }
  // The same way back.
  template <class T>
  PLINTH_DEVICE static void load(Shared<T> tile, int32_t row, int step,
                                 Registers<uint32_t, 4>& fragment) {
    const auto lane = static_cast<int32_t>(lane_index());
    row += static_cast<int32_t>(warp_index() % 4 * 16) + lane % 16;
    uint32_t four[4];
    load_matrix(four, tile + place(row, 16 * step + lane / 16 * 8));
    PLINTH_UNROLL
    for (int i = 0; i < 4; ++i) fragment[i] = four[i];
  }
};

// A struct of words in shared memory, which one thread makes for all: what takes divisions takes
// many times longer than to read it.
template <class S>
inline constexpr int kWordsOf = sizeof(S) / sizeof(int32_t);
template <class S>
PLINTH_DEVICE void store_words(Shared<int32_t> to, const S& s) {
  const auto words = std::bit_cast<std::array<int32_t, kWordsOf<S>>>(s);
  PLINTH_UNROLL
  for (int i = 0; i < kWordsOf<S>; ++i) to[i] = words[i];
}
template <class S>
PLINTH_DEVICE S load_words(Shared<int32_t> from) {
  std::array<int32_t, kWordsOf<S>> words;
  PLINTH_UNROLL
  for (int i = 0; i < kWordsOf<S>; ++i) words[i] = from[i];
  return std::bit_cast<S>(words);
}

// Copies `rows` rows from `first` on, of `units` units of 16 bytes, to global memory, `stride`
// elements apart: by a warpgroup, where TMA would write rows that are not its own.
template <class Layout, class T>
PLINTH_DEVICE void copy_rows(Shared<T> tile, int32_t first, int32_t rows, int32_t units,
                             Global<T> to, int64_t stride) {
  PLINTH_NO_UNROLL
  for (auto i = static_cast<int32_t>(thread_index() % 128); i < rows * units; i += 128) {
    const int32_t row = i / units, column = i % units * 8;
    const auto vector = load_vector<Vector<T, 8>>(tile + Layout::place(first + row, column));
    store_vector(to + (row * stride + column), vector);
  }
}

// Loads rows [row, row + kRows) of a head, in boxes of kBoxColumns, one box after another.
template <int kRows, int kColumns, int kBoxColumns, class T>
PLINTH_DEVICE void load_rows(Shared<T> to, const TensorMap& map, int32_t row, int32_t head,
                             int32_t batch, Shared<Mbarrier> barrier) {
  PLINTH_UNROLL
  for (int column = 0; column < kColumns; column += kBoxColumns)
    tma_load(to + column * kRows, map, {column, row, head, batch}, barrier);
}

}  // namespace plinth::kernels::cuda::attention
