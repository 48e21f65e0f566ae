#pragma once

// The vocabulary of kernels (kernels/device/device.h) on the CPU.

#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "kernels/device/emulate/pointers.h"
#include "kernels/types.h"

#define PLINTH_DEVICE inline
#define PLINTH_KERNEL
#define PLINTH_UNROLL

namespace plinth::device {

using emulate::Dim3;

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
inline uint32_t lane_index() {
  return thread_index() % 32;
}
inline uint32_t warp_index() {
  return thread_index() / 32;
}

// ---- barriers ----

inline void block_sync(Location at = Location::current()) {
  Block& block = Block::current();
  block.sync(0, (block.threads().count() + 31) / 32 * 32, at);
}
inline void named_sync(uint32_t id, uint32_t threads, Location at = Location::current()) {
  Block::current().sync(id, threads, at);
}
inline void named_arrive(uint32_t id, uint32_t threads, Location at = Location::current()) {
  Block::current().arrive(id, threads, at);
}

// ---- warps ----

inline constexpr uint32_t kFullMask = 0xffffffffu;

inline void warp_sync(uint32_t mask = kFullMask, Location at = Location::current()) {
  Block::current().meet_warp(mask, "", 0, true, at);
}

namespace detail {
template <class T>
T shuffled(T value, uint32_t from, uint32_t mask, Location at) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  const auto values = Block::current().meet_warp(mask, &value, sizeof(T), false, at);
  if (!((mask >> from) & 1))
    Block::current().fail(
        "shuffle from lane " + std::to_string(from) + ", which the mask leaves out", at);
  T result;
  std::memcpy(static_cast<void*>(&result), values[from].data(), sizeof(T));
  return result;
}
}  // namespace detail

template <class T>
T shuffle(T value, uint32_t lane, uint32_t mask = kFullMask, Location at = Location::current()) {
  return detail::shuffled(value, lane % 32, mask, at);
}
template <class T>
T shuffle_xor(T value, uint32_t distance, uint32_t mask = kFullMask,
              Location at = Location::current()) {
  return detail::shuffled(value, lane_index() ^ distance, mask, at);
}
template <class T>
T shuffle_down(T value, uint32_t distance, uint32_t mask = kFullMask,
               Location at = Location::current()) {
  const uint32_t from = lane_index() + distance;
  return detail::shuffled(value, from < 32 ? from : lane_index(), mask, at);
}
inline uint32_t ballot(bool predicate, uint32_t mask = kFullMask,
                       Location at = Location::current()) {
  const auto values = Block::current().meet_warp(mask, &predicate, sizeof(bool), false, at);
  uint32_t votes = 0;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (((mask >> lane) & 1) && values[lane][0] != std::byte{0}) votes |= 1u << lane;
  }
  return votes;
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
template <class V, class T, class Space>
void store_vector(Pointer<T, Space> to, const V& value, Location at = Location::current()) {
  to.store_as(value, at);
}

template <class T>
T atomic_add(Global<T> to, T value, Location at = Location::current()) {
  const T before = to.load(at);
  to.store(before + value, at);
  return before;
}

// ---- cp.async: done at the wait that guarantees it, and no sooner ----

// Copies kBytes (4, 8 or 16) from global to shared memory; where `valid` is false, writes zeros.
template <int kBytes, class T>
void copy_async(Shared<T> to, Global<const T> from, bool valid = true,
                Location at = Location::current()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  Block& block = Block::current();
  if (valid) emulate::check_global(from.raw(), from.origin(), kBytes, false, at);
  block.shared().begin_async_write(to.raw(), kBytes, at);
  block.thread().open_group.push_back([to, from, valid] {
    if (valid) {
      std::memcpy(static_cast<void*>(to.raw()), from.raw(), kBytes);
    } else {
      std::memset(static_cast<void*>(to.raw()), 0, kBytes);
    }
    Block::current().shared().finish_async_write(to.raw(), kBytes);
  });
}
inline void copy_async_commit() {
  emulate::Thread& self = Block::current().thread();
  self.groups.push_back(std::exchange(self.open_group, {}));
}
// Waits until at most `newest` of this thread's committed groups are unfinished.
template <int newest>
void copy_async_wait() {
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

// ---- launching ----

using Stream = void*;

struct LaunchShape {
  Dim3 grid;
  Dim3 block;
  size_t shared_bytes = 0;
};

// The seed of the order in which blocks and threads run.
inline uint64_t& emulation_seed() {
  static uint64_t seed = 0;
  return seed;
}

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape, Stream,
            Arguments... arguments) {
  std::mt19937_64 random(emulation_seed());
  std::vector<Dim3> blocks;
  for (uint32_t z = 0; z < shape.grid.z; ++z) {
    for (uint32_t y = 0; y < shape.grid.y; ++y) {
      for (uint32_t x = 0; x < shape.grid.x; ++x) blocks.push_back({x, y, z});
    }
  }
  std::shuffle(blocks.begin(), blocks.end(), random);
  for (const Dim3& index : blocks) {
    Block block(name, shape.grid, index, shape.block, shape.shared_bytes, random());
    block.run([&] { kernel(static_cast<Parameters>(arguments)...); });
  }
}

}  // namespace plinth::device
