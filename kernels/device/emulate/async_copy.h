#pragma once

// Bulk copies between global and shared memory, of arrays and of tensors' tiles.

#include <cstddef>
#include <cstdint>

#include "kernels/device/emulate/shared_memory.h"
#include "kernels/device/tile.h"

namespace plinth::emulate {

// A tile's place: of a tensor whose element (0, 0, ...) is at `base`.
struct Tile {
  const void* base;
  const device::TileShape* shape;
  const int32_t* at;
};

// Copies to shared memory that land when nothing else can go on, at an mbarrier: `barrier` and `to`
// in each block of the cluster whose bit is set in `blocks`.
void load_tile(const Tile& tile, void* to, const void* barrier, uint32_t blocks, Location at);
void load_bulk(const void* from, const void* origin, uint32_t bytes, void* to, const void* barrier,
               Location at);

// Copies to global memory. They have read when their group has been waited for so far, and have
// written when it has been waited for.
void store_tile(const Tile& tile, const void* from, Location at);
void store_bulk(const void* from, void* to, const void* origin, uint32_t bytes, Location at);
void add_bulk(const void* from, void* to, const void* origin, uint32_t bytes, Location at);
void commit_bulk_copies();
void wait_for_bulk_copies(uint32_t newest, bool only_read);

// Called as a thread ends: it must have waited until its copies and products had read shared
// memory.
void end_asynchronous_work(Thread& thread);

}  // namespace plinth::emulate
