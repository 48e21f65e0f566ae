#include "core/allocator.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "core/cuda/caching_allocator.h"
#include "core/cuda/direct_allocator.h"
#include "core/dry_memory.h"
#include "core/error.h"

namespace plinth {
namespace {

constexpr size_t kAlignment = 64;
// Steps between block sizes: fine enough to waste little, coarse enough that blocks are met again.
constexpr size_t kSmallStep = 512;
constexpr size_t kLargeStep = size_t{64} << 10;
constexpr size_t kLarge = size_t{1} << 20;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kCache = false;  // AddressSanitizer sees a use after free only if the block is freed
#else
constexpr bool kCache = true;
#endif

size_t block_size(size_t bytes) {
  const size_t step = bytes >= kLarge ? kLargeStep : kSmallStep;
  return (std::max<size_t>(bytes, 1) + step - 1) / step * step;
}

class CpuAllocator final : public Allocator {
 public:
  void* allocate(size_t bytes, Stream) override {
    const size_t size = block_size(bytes);
    if (is_dry_run()) return dry_memory().allocate(size);
    const std::lock_guard lock(mutex_);
    void* block = take_cached(size);
    if (!block) block = from_system(size);
    ++stats_.allocations;
    stats_.allocated += static_cast<int64_t>(size);
    stats_.peak_allocated = std::max(stats_.peak_allocated, stats_.allocated);
    return block;
  }

  void deallocate(void* block, size_t bytes, Stream) noexcept override {
    if (dry_memory().take_back(block)) return;
    const size_t size = block_size(bytes);
    const std::lock_guard lock(mutex_);
    stats_.allocated -= static_cast<int64_t>(size);
    if (kCache) {
      cached_.emplace(size, block);
    } else {
      free_block(block, size);
    }
  }

  void used_on(void*, Stream) override {}  // the CPU's work is done at once

  std::string snapshot() const override {
    throw Error(ErrorKind::Device, "snapshot", "got cpu, expected a CUDA device");
  }

  MemoryStats stats() const override {
    if (is_dry_run()) return dry_memory().stats();
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() override {
    if (is_dry_run()) return dry_memory().reset_peak();
    const std::lock_guard lock(mutex_);
    stats_.peak_allocated = stats_.allocated;
    stats_.peak_reserved = stats_.reserved;
  }

  void release_cached() override {
    const std::lock_guard lock(mutex_);
    drop_cached();
  }

 private:
  void* take_cached(size_t size) {
    const auto found = cached_.find(size);
    if (found == cached_.end()) return nullptr;
    void* block = found->second;
    cached_.erase(found);
    return block;
  }

  void* from_system(size_t size) {
    void* block = std::aligned_alloc(kAlignment, size);
    if (!block) {
      drop_cached();
      block = std::aligned_alloc(kAlignment, size);
    }
    check(block != nullptr, ErrorKind::OutOfMemory, "allocate", "no ", size,
          " bytes left on cpu: ", stats_.allocated, " bytes are in tensors");
    ++stats_.system_allocations;
    stats_.reserved += static_cast<int64_t>(size);
    stats_.peak_reserved = std::max(stats_.peak_reserved, stats_.reserved);
    return block;
  }

  void free_block(void* block, size_t size) noexcept {
    std::free(block);
    stats_.reserved -= static_cast<int64_t>(size);
  }

  void drop_cached() noexcept {
    for (const auto& [size, block] : cached_) free_block(block, size);
    cached_.clear();
  }

  mutable std::mutex mutex_;
  std::multimap<size_t, void*> cached_;
  MemoryStats stats_;
};

}  // namespace

Allocator& allocator(Device device) {
  // Never destroyed: tensors in static variables are freed after it would be.
  static auto* cpu = new CpuAllocator;
  if (!device.is_cuda()) return *cpu;
  static const bool direct = cuda::wants_direct_allocator();
  if (direct) return cuda::direct_allocator(device);
  return cuda::caching_allocator(device);
}

}  // namespace plinth
