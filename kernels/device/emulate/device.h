#pragma once

// The vocabulary of kernels (kernels/device/device.h) on the CPU.

#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "kernels/device/emulate/atomics.h"
#include "kernels/device/emulate/cluster_operations.h"
#include "kernels/device/emulate/mbarrier.h"
#include "kernels/device/emulate/mma.h"
#include "kernels/device/emulate/pointers.h"
#include "kernels/device/emulate/stream.h"
#include "kernels/device/emulate/tma.h"
#include "kernels/device/emulate/warp.h"
#include "kernels/device/emulate/wgmma.h"
#include "kernels/types.h"

#define PLINTH_DEVICE inline
#define PLINTH_KERNEL
#define PLINTH_UNROLL
#define PLINTH_NO_UNROLL
// A kernel of blocks of at most `threads` threads, of which `blocks` fit a multiprocessor.
#define PLINTH_KERNEL_BOUNDS(threads, blocks)
// Before a parameter that the kernel takes by address, as TMA does a TensorMap: `const
// PLINTH_GRID_CONSTANT TensorMap map`.
#define PLINTH_GRID_CONSTANT

namespace plinth::device {

using emulate::Dim3;

// Whether this is compiled for an architecture that has mbarrier, TMA, wgmma and clusters (sm_90a).
// A kernel that uses them puts them into `if constexpr (kHopper)`, so that it compiles for all.
inline constexpr bool kHopper = true;

// ---- where a thread is ----

inline uint32_t thread_index() {
  return Block::current().thread().id;
}
inline uint32_t block_threads() {
  return Block::current().threads().count();
}
inline Dim3 block_index() {
  return Block::current().index();
}
inline Dim3 grid_blocks() {
  return Block::current().grid();
}
// ---- barriers ----

PLINTH_MAY_BE_LEFT_OUT inline void block_sync(Location at = Location::current()) {
  PLINTH_LEAVE_OUT();
  Block& block = Block::current();
  block.sync(0, (block.threads().count() + 31) / 32 * 32, at);
}
PLINTH_MAY_BE_LEFT_OUT inline void named_sync(uint32_t id, uint32_t threads,
                                              Location at = Location::current()) {
  PLINTH_LEAVE_OUT();
  Block::current().sync(id, threads, at);
}
PLINTH_MAY_BE_LEFT_OUT inline void named_arrive(uint32_t id, uint32_t threads,
                                                Location at = Location::current()) {
  PLINTH_LEAVE_OUT();
  Block::current().arrive(id, threads, at);
}

// ---- memory ----

// The array of `count` elements at `offset` bytes of the block's dynamic shared memory.
template <class T>
Shared<T> shared_array(size_t offset, size_t count, Location at = Location::current()) {
  return Shared<T>(
      static_cast<T*>(Block::current().shared().at_offset(offset, count * sizeof(T), at)));
}

template <class V, class T, class Space>
V load_vector(Pointer<T, Space> from, Location at = Location::current()) {
  return from.template load_as<V>(at);
}
template <class V, class T>
void store_vector(Global<T> to, const V& value, Location at = Location::current()) {
  to.store_as(value, at);
}
template <class V, class T>
void store_shared_vector(Shared<T> to, const V& value, Location at = Location::current()) {
  to.store_as(value, at);
}

// ---- cp.async: done at the wait that guarantees it, and no sooner ----

// Copies kBytes (4, 8 or 16) from global to shared memory; where `valid` is false, writes zeros.
template <int kBytes, class T>
void copy_async(Shared<T> to, Global<const T> from, bool valid = true,
                Location at = Location::current()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  Block& block = Block::current();
  const emulate::Agent self = block.thread().generic();
  if (valid) emulate::check_global(from.raw(), from.origin(), kBytes, kBytes, false, self, at);
  block.shared().check_bounds(to.raw(), kBytes, kBytes, "write", at);
  const size_t offset = block.shared().offset_of(to.raw());
  block.shared().history().begin_write(offset, kBytes, self, at);
  block.thread().open_group.push_back([to, from, valid, offset] {
    if (valid) {
      std::memcpy(static_cast<void*>(to.raw()), from.raw(), kBytes);
    } else {
      std::memset(static_cast<void*>(to.raw()), 0, kBytes);
    }
    Block& block = Block::current();
    block.shared().history().finish_write(offset, kBytes, block.thread().generic());
  });
}
PLINTH_MAY_BE_LEFT_OUT inline void copy_async_commit() {
  PLINTH_LEAVE_OUT();
  emulate::Thread& self = Block::current().thread();
  self.groups.push_back(std::exchange(self.open_group, {}));
}
// Waits until at most `newest` of this thread's committed groups are unfinished.
template <int newest>
PLINTH_MAY_BE_LEFT_OUT void copy_async_wait() {
  PLINTH_LEAVE_OUT();
  emulate::Thread& self = Block::current().thread();
  while (self.groups.size() > newest) {
    for (const emulate::Completion& complete : self.groups.front()) complete();
    self.groups.pop_front();
  }
}

// ---- arithmetic that has its own instructions ----

inline float fast_exp2(float x) {
  return std::exp2(x);
}
inline float fast_rsqrt(float x) {
  return 1.0f / std::sqrt(x);
}

// ---- the thread's current device ----

struct DeviceLimits {
  int capability = 90;      // 10 major + minor
  int multiprocessors = 3;  // so few that blocks which stay have more than one tile each
  size_t shared_bytes = emulate::kMostSharedBytes;  // that a block can have
};

// Tests may change them.
inline DeviceLimits& device_limits() {
  static DeviceLimits limits;
  return limits;
}

// ---- launching ----

using Stream = void*;

using LaunchShape = emulate::Shape;

// The seed of the order in which blocks and threads run.
inline uint64_t& emulation_seed() {
  static uint64_t seed = 0;
  return seed;
}

// Its blocks run when the stream's work is done: at once where `stream` is null.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape,
            Stream stream, Arguments... arguments) {
  emulate::submit(stream, [=] {
    emulate::Launch(name, shape, emulation_seed()).run([&] {
      kernel(static_cast<Parameters>(arguments)...);
    });
  });
}

}  // namespace plinth::device
