#pragma once

#include "kernels/device/device.h"

namespace plinth::device {

enum class TmaMistake {
  None,
  NoInitFence,
  NoExpect,
  ExpectsTooMuch,
  NoWait,
  WrongParity,
  OverwritesUnread,
  Misaligned,
  NoAsyncFence,
  NoBarrierBeforeStore,
  NoCommit,
  NoReadWait,
  OverwritesUnwaited
};

// Tile after tile of a matrix (rows of `kColumns` elements) comes by TMA, is doubled by all threads
// where it lies, and goes back by TMA to another matrix. x = 2 x, with two stages.
template <TmaMistake mistake, Swizzle swizzle, int kRows, int kColumns>
PLINTH_KERNEL void double_tiles(const PLINTH_GRID_CONSTANT TensorMap from,
                                const PLINTH_GRID_CONSTANT TensorMap to, int tiles) {
  if constexpr (kHopper) {
    constexpr uint32_t kElements = kRows * kColumns, kBytes = kElements * 4;
    constexpr uint32_t kFirst = 1024 + (mistake == TmaMistake::Misaligned ? 64 : 0);
    const Shared<Mbarrier> barriers = shared_array<Mbarrier>(0, 2);
    const bool leader = thread_index() == 0;
    if (leader) {
      mbarrier_init(barriers, 1);
      mbarrier_init(barriers + 1, 1);
      if (mistake != TmaMistake::NoInitFence) mbarrier_fence_init();
    }
    block_sync();
    for (int tile = 0; tile < tiles; ++tile) {
      const int stage = tile % 2;
      const Shared<float> values = shared_array<float>(kFirst + stage * kBytes, kElements);
      const Shared<Mbarrier> barrier = barriers + stage;
      if (leader) {
        // The copy from this stage two tiles ago must have read it.
        if (mistake != TmaMistake::OverwritesUnread) bulk_wait_read<1>();
        if (mistake == TmaMistake::NoExpect) {
          mbarrier_arrive(barrier);
        } else {
          mbarrier_arrive_expect(barrier,
                                 kBytes + (mistake == TmaMistake::ExpectsTooMuch ? 16 : 0));
        }
        tma_load(values, from, {0, tile * kRows}, barrier);
      }
      const uint32_t parity = tile / 2 % 2;
      if (mistake != TmaMistake::NoWait)
        mbarrier_wait(barrier, mistake == TmaMistake::WrongParity ? parity ^ 1 : parity);
      for (uint32_t i = thread_index(); i < kElements; i += block_threads()) {
        const float value = values[swizzled(i * 4, swizzle) / 4];
        values[swizzled(i * 4, swizzle) / 4] = 2 * value;
      }
      if (mistake != TmaMistake::NoAsyncFence) fence_async_shared();
      if (mistake != TmaMistake::NoBarrierBeforeStore) block_sync();
      if (leader) {
        tma_store(to, {0, tile * kRows}, values);
        if (mistake != TmaMistake::NoCommit || tile + 1 < tiles) bulk_commit();
        if (mistake == TmaMistake::OverwritesUnwaited) values[0] = 0.0f;
      }
    }
    if (leader && mistake != TmaMistake::NoReadWait) bulk_wait_read<0>();
  }
}

// A box of a tensor of n dimensions comes to shared memory and goes as it lies to `out`.
template <int n>
PLINTH_KERNEL void load_box(const PLINTH_GRID_CONSTANT TensorMap map, int32_t first, int elements,
                            Global<float> out) {
  if constexpr (kHopper) {
    const Shared<Mbarrier> barrier = shared_array<Mbarrier>(0, 1);
    const Shared<float> box = shared_array<float>(128, elements);
    int32_t at[n];
    PLINTH_UNROLL
    for (int i = 0; i < n; ++i) at[i] = first + i;
    if (thread_index() == 0) {
      tma_prefetch(map);
      mbarrier_init(barrier, 1);
      mbarrier_fence_init();
      mbarrier_arrive_expect(barrier, elements * 4);
      tma_load(box, map, at, barrier);
      mbarrier_wait(barrier, 0);
      bulk_store(out, box, elements * 4);
      bulk_commit();
      bulk_wait<0>();
    }
  }
}

// The opposite: `in` goes to a box of a tensor.
template <int n>
PLINTH_KERNEL void store_box(const PLINTH_GRID_CONSTANT TensorMap map, int32_t first, int elements,
                             Global<const float> in) {
  if constexpr (kHopper) {
    const Shared<Mbarrier> barrier = shared_array<Mbarrier>(0, 1);
    const Shared<float> box = shared_array<float>(128, elements);
    int32_t at[n];
    PLINTH_UNROLL
    for (int i = 0; i < n; ++i) at[i] = first + i;
    if (thread_index() == 0) {
      mbarrier_init(barrier, 1);
      mbarrier_fence_init();
      mbarrier_arrive_expect(barrier, elements * 4);
      bulk_load(box, in, elements * 4, barrier);
      mbarrier_wait(barrier, 0);
      tma_store(map, at, box);
      bulk_commit();
      bulk_wait_read<0>();
    }
  }
}

// A thread reads back from global memory what its copy has written.
template <bool waits_for_the_write>
PLINTH_KERNEL void read_back(Global<float> x) {
  if constexpr (kHopper) {
    const Shared<float> values = shared_array<float>(0, 4);
    for (int i = 0; i < 4; ++i) values[i] = static_cast<float>(i);
    fence_async_shared();
    bulk_store(x, values, 16);
    bulk_commit();
    if constexpr (waits_for_the_write) {
      bulk_wait<0>();
    } else {
      bulk_wait_read<0>();
    }
    const float last = x[3];
    x[0] = last;
  }
}

// Ordinary stores to global memory, then a bulk copy of them.
template <bool with_fence>
PLINTH_KERNEL void copy_own_stores(Global<float> x, Global<float> y) {
  if constexpr (kHopper) {
    const Shared<Mbarrier> barrier = shared_array<Mbarrier>(0, 1);
    const Shared<float> values = shared_array<float>(16, 4);
    mbarrier_init(barrier, 1);
    mbarrier_fence_init();
    for (int i = 0; i < 4; ++i) x[i] = static_cast<float>(i);
    if constexpr (with_fence) fence_async_all();
    mbarrier_arrive_expect(barrier, 16);
    bulk_load(values, static_cast<Global<const float>>(x), 16, barrier);
    mbarrier_wait(barrier, 0);
    const float last = values[3];
    y[0] = last;
  }
}

PLINTH_KERNEL void end_before_the_copy(Global<const float> x) {
  if constexpr (kHopper) {
    const Shared<Mbarrier> barrier = shared_array<Mbarrier>(0, 1);
    mbarrier_init(barrier, 1);
    mbarrier_fence_init();
    mbarrier_arrive_expect(barrier, 16);
    bulk_load(shared_array<float>(16, 4), x, 16, barrier);
  }
}

}  // namespace plinth::device
