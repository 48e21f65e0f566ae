#pragma once

// A block's shared memory, with the history of every two bytes of it: who wrote them last, who has
// read them since, and whether an asynchronous copy into them is on its way. An access that the GPU
// would not order after the one before it is an error, whatever the values were.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/device/emulate/block.h"

namespace plinth::emulate {

class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes);

  size_t size() const { return size_; }
  std::byte* data() { return data_; }
  size_t offset_of(const void* address) const {
    return static_cast<const std::byte*>(address) - data_;
  }

  // Checks that the running thread may read or write [address, address + bytes), and remembers it.
  void check_read(const void* address, size_t bytes, Location at);
  void check_write(const void* address, size_t bytes, Location at);
  // A write that happens some time between now and finish_async_write(), by the running thread.
  void begin_async_write(const void* address, size_t bytes, Location at);
  void finish_async_write(const void* address, size_t bytes);

  // Reserves the next `bytes`, aligned; the same for every thread that makes the same calls.
  void* at_offset(size_t offset, size_t bytes, Location at);

 private:
  static constexpr size_t kCellBytes = 2;
  struct Cell {
    uint32_t writer = 0, write_time = 0;
    bool written = false;
    bool in_flight = false;
    std::vector<std::pair<uint32_t, uint32_t>> readers;  // (thread, time) since the last write
  };

  void check_bounds(const void* address, size_t bytes, const char* verb, Location at) const;
  void check_order_of_write(Cell& cell, size_t offset, Location at) const;
  template <class F>
  void for_cells(const void* address, size_t bytes, F f);

  size_t size_;
  std::vector<std::byte> memory_;
  std::byte* data_;  // aligned to 1024, as the hardware's swizzled tiles need
  std::vector<Cell> cells_;
};

}  // namespace plinth::emulate
