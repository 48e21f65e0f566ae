#pragma once

// The memory of a dry run: blocks of address space that read as zeros, and cost memory only where
// something is written. Only core/ includes this.

#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>
#include <unordered_map>

#include "core/allocator.h"
#include "core/dry_run.h"

namespace plinth {

class DryMemory {
 public:
  // Starts to count from zero; null: nobody hears of it.
  void begin(MemoryListener* listener);
  void end();

  // `size` as block_size() gives it. Throws Error(OutOfMemory) where the system refuses so much
  // address space.
  void* allocate(size_t size);
  // False for a block that is none of its own. Blocks of an earlier dry run are not counted.
  bool take_back(void* block) noexcept;
  void shaped(const void* block, const Shape& shape, DType dtype);

  MemoryStats stats() const;
  void reset_peak();

 private:
  struct Block {
    size_t size = 0;
    int64_t run = 0;
  };

  void* take(size_t span);
  void reserve(size_t span);

  std::atomic<bool> used_ = false;  // by any dry run yet
  mutable std::mutex mutex_;
  MemoryListener* listener_ = nullptr;
  int64_t run_ = 0;
  MemoryStats stats_;
  std::unordered_map<const void*, Block> blocks_;
  std::multimap<size_t, void*> free_;
  std::byte* at_ = nullptr;  // of address space that was never given away
  std::byte* end_ = nullptr;
};

// Never destroyed.
DryMemory& dry_memory();

}  // namespace plinth
