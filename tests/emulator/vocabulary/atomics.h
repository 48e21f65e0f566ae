#pragma once

#include "kernels/device/device.h"

namespace plinth::device {

// Each block writes a part; the last to have done so adds the parts in their order.
enum class LastBlockMistake { None, RelaxedTicket, NoBarrierBeforeTicket, NoBarrierAfterTicket };

template <LastBlockMistake mistake>
PLINTH_KERNEL void sum_by_last_block(Global<const float> x, Global<float> parts,
                                     Global<uint32_t> tickets, Global<float> sum) {
  const Shared<uint32_t> is_last = shared_array<uint32_t>(0, 1);
  const uint32_t block = block_index().x, blocks = grid_blocks().x, i = thread_index();
  const float value = x[block * block_threads() + i];
  parts[block * block_threads() + i] = value;
  if (mistake != LastBlockMistake::NoBarrierBeforeTicket) block_sync();
  if (i == 0) {
    const uint32_t ticket = mistake == LastBlockMistake::RelaxedTicket
                                ? atomic_add(tickets, 1)
                                : atomic_add_acq_rel(tickets, 1);
    is_last[0] = ticket == blocks - 1;
  }
  if (mistake != LastBlockMistake::NoBarrierAfterTicket) block_sync();
  const uint32_t last = is_last[0];
  if (!last) return;
  float total = 0;
  for (uint32_t b = 0; b < blocks; ++b) {
    const float part = parts[b * block_threads() + i];
    total += part;
  }
  sum[i] = total;
}

// Blocks add to a chain in the order of their tickets, each waiting for the one before.
enum class ChainMistake { None, NoReleaseFence, NoAcquireFence, NoWait };

template <ChainMistake mistake>
PLINTH_KERNEL void chain(Global<int32_t> ticket, Global<int32_t> turn, Global<int32_t> values) {
  const int32_t mine = atomic_add(ticket, 1);
  if (mistake != ChainMistake::NoWait) {
    while (load_relaxed(turn) != mine) {
    }
  }
  if (mistake != ChainMistake::NoAcquireFence) memory_fence();
  int32_t before = 0;
  if (mine > 0) before = values[mine - 1];
  values[mine] = before + mine;
  if (mistake != ChainMistake::NoReleaseFence) memory_fence();
  store_relaxed(turn, mine + 1);
}

// The same by acquire and release.
PLINTH_KERNEL void chain_by_acquire(Global<int64_t> ticket, Global<int64_t> turn,
                                    Global<int64_t> values) {
  const int64_t mine = atomic_add(ticket, 1);
  while (load_acquire(turn) != mine) {
  }
  int64_t before = 0;
  if (mine > 0) before = values[mine - 1];
  values[mine] = before + mine;
  store_release(turn, mine + 1);
}

PLINTH_KERNEL void wait_for_a_flag_that_no_one_sets(Global<int32_t> flag) {
  while (load_acquire(flag) == 0) {
  }
}

// A thread reads what another of its block wrote to global memory.
template <bool with_barrier>
PLINTH_KERNEL void reverse_in_global(Global<int32_t> x) {
  const uint32_t i = thread_index();
  x[i] = static_cast<int32_t>(i);
  if (with_barrier) block_sync();
  const int32_t other = x[block_threads() - 1 - i];
  if (with_barrier) block_sync();
  x[i] = other;
}

// Every atomic, in global and in shared memory.
template <class T>
PLINTH_KERNEL void use_atomics(Global<T> x) {
  const Shared<T> y = shared_array<T>(0, 5);
  const uint32_t i = thread_index();
  if (i < 5) y[i] = T(10);
  block_sync();
  const T value = T(i);
  atomic_add(x, value);
  atomic_max(x + 1, value);
  atomic_min(x + 2, value);
  if (i == 0) atomic_exchange(x + 3, T(42));
  atomic_compare_exchange(x + 4, value, value + T(100));
  atomic_add(y, value);
  atomic_max(y + 1, value);
  atomic_min(y + 2, value);
  if (i == 0) atomic_exchange(y + 3, T(42));
  atomic_compare_exchange(y + 4, value, value + T(100));
  block_sync();
  if (i < 5) {
    const T result = y[i];
    x[5 + i] = result;
  }
}

}  // namespace plinth::device
