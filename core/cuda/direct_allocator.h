#pragma once

// An allocator of a CUDA device that keeps nothing: each block comes from the driver, with its own
// size, and goes back to it. Slow, since both wait for the device; for compute-sanitizer, which
// knows the driver's blocks only and would miss an access beyond a tensor that stays inside a
// cached segment.

#include <mutex>
#include <unordered_map>

#include "core/allocator.h"

namespace plinth::cuda {

class DirectAllocator final : public Allocator {
 public:
  explicit DirectAllocator(Device device) : device_(device) {}

  void* allocate(size_t bytes, Stream stream) override;
  // Waits for all of the device's work, whatever its stream.
  void deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  void used_on(void*, Stream) override {}
  MemoryStats stats() const override;
  void reset_peak() override;
  void release_cached() override {}
  // {"device", "segments": [{"address", "bytes"}]}
  std::string snapshot() const override;

 private:
  const Device device_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, size_t> blocks_;
  MemoryStats stats_;
};

// Whether the environment asks for it: PLINTH_CUDA_ALLOCATOR is "direct". Throws Error(Config) for
// a value that is neither "direct" nor "caching".
bool wants_direct_allocator();
DirectAllocator& direct_allocator(Device device);

}  // namespace plinth::cuda
