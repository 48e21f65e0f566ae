#pragma once

// Bulk copies between global and shared memory (cp.async.bulk, sm_90): one thread starts them, the
// hardware makes them. To shared memory they end at an mbarrier; to global memory they are
// committed in groups and waited for.
//
// They, and wgmma, reach memory by the async proxy: what threads wrote with ordinary stores they
// read only after a fence_async_*() by the writer, and a barrier.

#include <initializer_list>
#include <stdexcept>
#include <string>

#include "kernels/device/emulate/async_copy.h"
#include "kernels/device/emulate/mbarrier.h"
#include "kernels/device/tile.h"

namespace plinth::device {

// Where and how TMA finds tiles of a tensor. Kernels take it as `const PLINTH_GRID_CONSTANT
// TensorMap`.
struct TensorMap {
  const void* base = nullptr;
  TileShape shape;
};

// The map of a tensor of up to five dimensions, the innermost first: its sizes and, but for the
// innermost, its strides in elements; the box that one copy moves; its swizzle in shared memory.
// Throws std::invalid_argument if tile_shape_error() finds fault.
template <class T>
TensorMap make_tensor_map(const T* base, std::initializer_list<int64_t> sizes,
                          std::initializer_list<int64_t> strides,
                          std::initializer_list<int64_t> box, Swizzle swizzle) {
  const TensorMap map{base, tile_shape(sizeof(T), sizes, strides, box, swizzle)};
  if (const char* error = tile_shape_error(base, map.shape))
    throw std::invalid_argument(std::string("tensor map: ") + error);
  return map;
}

// ---- fences between ordinary and asynchronous accesses ----

PLINTH_MAY_BE_LEFT_OUT inline void fence_async_shared() {
  PLINTH_LEAVE_OUT();
  emulate::Thread& self = Block::current().thread();
  self.knows.async_seen.set(self.agent, self.knows.seen.of(self.agent));
  self.knows.seen.tick(self.agent);
}
// Of global memory too.
PLINTH_MAY_BE_LEFT_OUT inline void fence_async_all() {
  PLINTH_LEAVE_OUT();
  emulate::Thread& self = Block::current().thread();
  self.knows.async_seen_global.set(self.agent, self.knows.seen.of(self.agent));
  fence_async_shared();
}

// ---- to shared memory ----

namespace detail {
template <int n>
emulate::Tile tile_of(const TensorMap& map, const int32_t (&at)[n], Location where) {
  if (map.shape.rank != n) {
    Block::current().fail(std::to_string(n) + " coordinates for a tensor of " +
                              std::to_string(map.shape.rank) + " dimensions",
                          where);
  }
  return {map.base, &map.shape, at};
}
}  // namespace detail

// The box at coordinates `at`, the innermost first, to `to`, aligned to 128 bytes (with a swizzle,
// to 8 spans). Elements outside the tensor are zeros. Always brings the whole box's bytes.
template <int n, class T>
void tma_load(Shared<T> to, const TensorMap& map, const int32_t (&at)[n], Shared<Mbarrier> barrier,
              Location where = Location::current()) {
  const uint32_t self = 1u << Block::current().rank();
  emulate::load_tile(detail::tile_of(map, at, where), to.raw(), barrier.raw(), self, where);
}
// To the same place in each block of the cluster whose bit is set, at the mbarrier in the same
// place.
template <int n, class T>
void tma_load_multicast(Shared<T> to, const TensorMap& map, const int32_t (&at)[n],
                        Shared<Mbarrier> barrier, uint16_t blocks,
                        Location where = Location::current()) {
  emulate::load_tile(detail::tile_of(map, at, where), to.raw(), barrier.raw(), blocks, where);
}
inline void tma_prefetch(const TensorMap&) {}

// `bytes`, a multiple of 16; both addresses aligned to 16.
template <class T>
void bulk_load(Shared<T> to, Global<const T> from, uint32_t bytes, Shared<Mbarrier> barrier,
               Location where = Location::current()) {
  emulate::load_bulk(from.raw(), from.origin(), bytes, to.raw(), barrier.raw(), where);
}

// ---- to global memory ----

// Elements outside the tensor are not written.
template <int n, class T>
void tma_store(const TensorMap& map, const int32_t (&at)[n], Shared<T> from,
               Location where = Location::current()) {
  emulate::store_tile(detail::tile_of(map, at, where), from.raw(), where);
}
template <class T>
void bulk_store(Global<T> to, Shared<T> from, uint32_t bytes,
                Location where = Location::current()) {
  emulate::store_bulk(from.raw(), to.raw(), to.origin(), bytes, where);
}
// Adds each float to the one that is there. Blocks that add to the same ones need an order.
inline void bulk_add(Global<float> to, Shared<float> from, uint32_t bytes,
                     Location where = Location::current()) {
  emulate::add_bulk(from.raw(), to.raw(), to.origin(), bytes, where);
}
PLINTH_MAY_BE_LEFT_OUT inline void bulk_commit() {
  PLINTH_LEAVE_OUT();
  emulate::commit_bulk_copies();
}
// Waits until at most `newest` of this thread's committed groups may still write; or, with _read,
// may still read shared memory.
template <int newest>
PLINTH_MAY_BE_LEFT_OUT void bulk_wait() {
  PLINTH_LEAVE_OUT();
  emulate::wait_for_bulk_copies(newest, false);
}
template <int newest>
PLINTH_MAY_BE_LEFT_OUT void bulk_wait_read() {
  PLINTH_LEAVE_OUT();
  emulate::wait_for_bulk_copies(newest, true);
}

}  // namespace plinth::device
