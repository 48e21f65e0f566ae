#pragma once

// A block's shared memory and its history.

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "kernels/device/emulate/block.h"
#include "kernels/device/emulate/history.h"
#include "kernels/device/emulate/mbarrier_state.h"

namespace plinth::emulate {

class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes);

  size_t size() const { return size_; }
  std::byte* data() { return data_; }
  bool contains(const void* address) const { return address >= data_ && address < data_ + size_; }
  size_t offset_of(const void* address) const {
    return static_cast<const std::byte*>(address) - data_;
  }
  History& history() { return history_; }
  std::map<size_t, MbarrierState>& mbarriers() { return mbarriers_; }  // by offset

  // Checks that [address, address + bytes) is inside, and aligned to `alignment`.
  void check_bounds(const void* address, size_t bytes, size_t alignment, const char* verb,
                    Location at) const;

  // The place of an array of `bytes` at `offset`.
  void* at_offset(size_t offset, size_t bytes, Location at);

 private:
  size_t size_;
  std::vector<std::byte> memory_;
  std::byte* data_;  // aligned to 1024, as the hardware's swizzled tiles need
  History history_;
  std::map<size_t, MbarrierState> mbarriers_;
};

// Checks that the running thread may access [address, address + bytes) of its block's shared
// memory, or of another block's of its cluster, and remembers it.
void check_shared_read(const void* address, size_t bytes, const Agent& agent, Location at);
void check_shared_write(const void* address, size_t bytes, const Agent& agent, Location at);

// The place in block `rank` of the cluster that `address` is in the running thread's block.
void* in_peer(void* address, uint32_t rank, Location at);

// The memory that holds `address`, of the running thread's block unless another of its cluster has
// it; fails if that block has ended.
SharedMemory& shared_memory_of(const void* address, Location at);

}  // namespace plinth::emulate
