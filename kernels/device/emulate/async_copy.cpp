#include "kernels/device/emulate/async_copy.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device/emulate/cluster.h"
#include "kernels/device/emulate/global_memory.h"

namespace plinth::emulate {
namespace {

constexpr size_t kTileAlignment = 128, kBulkAlignment = 16;

using Bytes = std::vector<std::byte>;

// Part of a row of a tile that lies inside the tensor.
struct Piece {
  const std::byte* global;
  size_t offset, bytes;  // in the tile, without its swizzle
};

size_t bytes_of(const device::TileShape& shape) {
  size_t bytes = shape.element_bytes;
  for (int i = 0; i < shape.rank; ++i) bytes *= shape.box[i];
  return bytes;
}

std::vector<Piece> pieces_of(const Tile& tile) {
  const device::TileShape& shape = *tile.shape;
  const int64_t first = std::max<int64_t>(tile.at[0], 0);
  const int64_t last = std::min<int64_t>(tile.at[0] + shape.box[0], shape.sizes[0]);
  std::vector<Piece> pieces;
  if (first >= last) return pieces;
  const int64_t rows = static_cast<int64_t>(bytes_of(shape)) / shape.element_bytes / shape.box[0];
  for (int64_t row = 0; row < rows; ++row) {
    bool inside = true;
    int64_t rest = row, global = first * shape.element_bytes;
    for (int i = 1; i < shape.rank; ++i) {
      const int64_t index = tile.at[i] + rest % shape.box[i];
      rest /= shape.box[i];
      inside = inside && index >= 0 && index < shape.sizes[i];
      global += index * shape.strides[i];
    }
    if (!inside) continue;
    const int64_t column = first - tile.at[0];
    pieces.push_back({static_cast<const std::byte*>(tile.base) + global,
                      static_cast<size_t>((row * shape.box[0] + column) * shape.element_bytes),
                      static_cast<size_t>((last - first) * shape.element_bytes)});
  }
  return pieces;
}

void check_tile(const SharedMemory& memory, const Tile& tile, const void* address, const char* verb,
                Location at) {
  if (const char* error = device::tile_shape_error(tile.base, *tile.shape))
    Block::current().fail(std::string("a copy by a map that cannot be: ") + error, at);
  memory.check_bounds(address, bytes_of(*tile.shape), kTileAlignment, verb, at);
}

// Calls copy(tile's byte, swizzled byte of shared memory, bytes) for each 16 bytes of a tile.
template <class F>
void for_units(const SharedMemory& memory, const void* address, size_t bytes,
               device::Swizzle swizzle, F copy) {
  const auto start = static_cast<uint32_t>(memory.offset_of(address));
  for (uint32_t i = 0; i < bytes; i += 16) copy(i, device::swizzled(start + i, swizzle));
}

// What one block gets: the bytes, where, and the mbarrier that they end at.
struct Landing {
  Block* block;
  void* to;
  const void* barrier;
};

void land_later(const Landing& landing, size_t bytes, std::function<Bytes()> read,
                device::Swizzle swizzle, Location at) {
  SharedMemory& memory = landing.block->shared();
  const size_t offset = memory.offset_of(landing.to);
  MbarrierState& barrier = mbarrier_at(landing.barrier, at);
  Block& self = Block::current();
  if (!barrier.visible_to_async)
    self.fail("an asynchronous copy to an mbarrier whose making no mbarrier_fence_init() followed",
              at);
  memory.history().begin_write(offset, bytes, {&self.thread().knows, barrier.copy(), Proxy::Async},
                               at);
  self.launch().defer([=, &memory, &barrier, read = std::move(read)] {
    const Bytes data = read();
    for_units(memory, landing.to, bytes, swizzle, [&](uint32_t from, uint32_t to) {
      std::memcpy(memory.data() + to, data.data() + from, 16);
    });
    memory.history().finish_write(offset, bytes, {nullptr, barrier.copy(), Proxy::Async});
    barrier.complete(static_cast<uint32_t>(bytes), at);
  });
}

Agent as_async(const Thread& thread) {
  Agent agent = thread.generic();
  agent.proxy = Proxy::Async;
  return agent;
}

}  // namespace

void load_tile(const Tile& tile, void* to, const void* barrier, uint32_t blocks, Location at) {
  Block& self = Block::current();
  check_tile(self.shared(), tile, to, "tile copy", at);
  const std::vector<Piece> pieces = pieces_of(tile);
  const Agent reader = as_async(self.thread());
  for (const Piece& piece : pieces)
    check_global(piece.global, tile.base, piece.bytes, tile.shape->element_bytes, false, reader,
                 at);
  const size_t bytes = bytes_of(*tile.shape);
  const auto read = [pieces, bytes] {
    Bytes data(bytes, std::byte{0});
    for (const Piece& piece : pieces)
      std::memcpy(data.data() + piece.offset, piece.global, piece.bytes);
    return data;
  };
  const auto& all = self.cluster().blocks();
  if (blocks >> all.size() != 0) self.fail("a copy to blocks that the cluster does not have", at);
  for (const auto& block : all) {
    if (!((blocks >> block->rank()) & 1)) continue;
    const auto there = [&](const void* here) {
      return block->shared().data() + self.shared().offset_of(here);
    };
    land_later({block.get(), there(to), there(barrier)}, bytes, read, tile.shape->swizzle, at);
  }
}

void load_bulk(const void* from, const void* origin, uint32_t bytes, void* to, const void* barrier,
               Location at) {
  Block& self = Block::current();
  if (bytes == 0 || bytes % 16 != 0)
    self.fail("a bulk copy of " + std::to_string(bytes) + " bytes: takes multiples of 16", at);
  self.shared().check_bounds(to, bytes, kBulkAlignment, "bulk copy", at);
  check_global(from, origin, bytes, kBulkAlignment, false, as_async(self.thread()), at);
  const auto read = [from, bytes] {
    const auto* const first = static_cast<const std::byte*>(from);
    return Bytes(first, first + bytes);
  };
  land_later({&self, to, barrier}, bytes, read, device::Swizzle::None, at);
}

// ---- to global memory ----

namespace {

void name_bulk_agents(Block& block) {
  Thread& self = block.thread();
  if (self.bulk_reader) return;
  const std::string name = "a bulk copy of thread " + std::to_string(self.id);
  self.bulk_reader = block.cluster().new_agent(name);
  self.bulk_writer = block.cluster().new_agent(name);
}

void store_later(const void* from, size_t bytes, device::Swizzle swizzle,
                 std::function<void(const Bytes&)> write, Location at) {
  Block& block = Block::current();
  Thread& self = block.thread();
  SharedMemory& memory = block.shared();
  memory.history().read(
      memory.offset_of(from), bytes,
      {&self.knows, {self.knows.cluster, self.bulk_reader, self.bulk_number}, Proxy::Async}, at);
  const auto data = std::make_shared<Bytes>(bytes);
  self.open_stores.push_back({[=, &memory] {
                                for_units(
                                    memory, from, bytes, swizzle, [&](uint32_t to, uint32_t there) {
                                      std::memcpy(data->data() + to, memory.data() + there, 16);
                                    });
                              },
                              [=, write = std::move(write)] { write(*data); }});
}

Agent bulk_writer(const Thread& self) {
  return {&self.knows, {self.knows.cluster, self.bulk_writer, self.bulk_number}, Proxy::Async};
}

}  // namespace

void store_tile(const Tile& tile, const void* from, Location at) {
  Block& self = Block::current();
  check_tile(self.shared(), tile, from, "tile copy", at);
  name_bulk_agents(self);
  const std::vector<Piece> pieces = pieces_of(tile);
  for (const Piece& piece : pieces)
    check_global(piece.global, tile.base, piece.bytes, tile.shape->element_bytes, true,
                 bulk_writer(self.thread()), at);
  store_later(
      from, bytes_of(*tile.shape), tile.shape->swizzle,
      [pieces](const Bytes& data) {
        for (const Piece& piece : pieces)
          std::memcpy(const_cast<std::byte*>(piece.global), data.data() + piece.offset,
                      piece.bytes);
      },
      at);
}

namespace {

void store_bulk_by(const void* from, void* to, const void* origin, uint32_t bytes,
                   std::function<void(const Bytes&)> write, Location at) {
  Block& self = Block::current();
  if (bytes == 0 || bytes % 16 != 0)
    self.fail("a bulk copy of " + std::to_string(bytes) + " bytes: takes multiples of 16", at);
  name_bulk_agents(self);
  self.shared().check_bounds(from, bytes, kBulkAlignment, "bulk copy", at);
  check_global(to, origin, bytes, kBulkAlignment, true, bulk_writer(self.thread()), at);
  store_later(from, bytes, device::Swizzle::None, std::move(write), at);
}

}  // namespace

void store_bulk(const void* from, void* to, const void* origin, uint32_t bytes, Location at) {
  store_bulk_by(
      from, to, origin, bytes,
      [to](const Bytes& data) { std::memcpy(to, data.data(), data.size()); }, at);
}

void add_bulk(const void* from, void* to, const void* origin, uint32_t bytes, Location at) {
  store_bulk_by(
      from, to, origin, bytes,
      [to](const Bytes& data) {
        auto* const sums = static_cast<float*>(to);
        for (size_t i = 0; i < data.size() / sizeof(float); ++i) {
          float term;
          std::memcpy(&term, data.data() + i * sizeof(float), sizeof(float));
          sums[i] += term;
        }
      },
      at);
}

void commit_bulk_copies() {
  Thread& self = Block::current().thread();
  self.bulk_groups.push_back({self.bulk_number++, false, std::exchange(self.open_stores, {})});
}

void wait_for_bulk_copies(uint32_t newest, bool only_read) {
  Thread& self = Block::current().thread();
  if (self.bulk_groups.size() <= newest) return;
  const size_t done = self.bulk_groups.size() - newest;
  for (size_t g = 0; g < done; ++g) {
    BulkGroup& group = self.bulk_groups[g];
    if (!std::exchange(group.read, true)) {
      for (const BulkStore& store : group.stores) store.read();
      self.knows.seen.set(self.bulk_reader, group.number);
    }
    if (only_read) continue;
    for (const BulkStore& store : group.stores) store.write();
    self.knows.seen.set(self.bulk_writer, group.number);
  }
  if (!only_read)
    self.bulk_groups.erase(self.bulk_groups.begin(),
                           self.bulk_groups.begin() + static_cast<ptrdiff_t>(done));
}

void end_asynchronous_work(Thread& thread) {
  const Location here = Location::current();
  if (thread.open_product != 0 ||
      std::ranges::any_of(thread.product_groups, [](uint32_t last) { return last != 0; }))
    thread.block->fail("ends before it has waited for its wgmma", here);
  if (!thread.open_stores.empty())
    thread.block->fail("ends with a bulk copy to global memory that it never committed", here);
  for (const BulkGroup& group : thread.bulk_groups) {
    if (!group.read && !group.stores.empty())
      thread.block->fail("ends while its bulk copies to global memory may still read shared memory",
                         here);
  }
  wait_for_bulk_copies(0, false);
}

}  // namespace plinth::emulate
