#include "core/cuda/direct_allocator.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/cuda/runtime.h"
#include "core/error.h"

namespace plinth::cuda {

void* DirectAllocator::allocate(size_t bytes, Stream stream) {
  check(!is_capturing(stream), ErrorKind::Cuda, "allocate",
        "got a stream that is being captured, which takes the caching allocator");
  const std::lock_guard lock(mutex_);
  const size_t size = std::max<size_t>(bytes, 1);
  void* block = device_allocate(device_, size);
  check(block != nullptr, ErrorKind::OutOfMemory, "allocate", "no ", size, " bytes left on ",
        device_, ": ", stats_.allocated, " bytes are in tensors");
  blocks_[block] = size;
  mark_block(block, size, stream);
  ++stats_.allocations;
  ++stats_.system_allocations;
  stats_.allocated += static_cast<int64_t>(size);
  stats_.reserved = stats_.allocated;
  stats_.peak_allocated = std::max(stats_.peak_allocated, stats_.allocated);
  stats_.peak_reserved = stats_.peak_allocated;
  return block;
}

void DirectAllocator::deallocate(void* block, size_t, Stream stream) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(block);
  if (found == blocks_.end()) return;
  unmark_block(block, stream);
  try {
    cuda::synchronize(device_);
  } catch (const std::exception&) {
    // A device that fails does so for good; whoever waits for its work is told.
  }
  device_free(device_, block);
  stats_.allocated -= static_cast<int64_t>(found->second);
  stats_.reserved = stats_.allocated;
  blocks_.erase(found);
}

MemoryStats DirectAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void DirectAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_allocated = stats_.peak_reserved = stats_.allocated;
}

std::string DirectAllocator::snapshot() const {
  using Json = nlohmann::ordered_json;
  const std::lock_guard lock(mutex_);
  const std::map<void*, size_t> ordered(blocks_.begin(), blocks_.end());
  Json segments = Json::array();
  for (const auto& [address, bytes] : ordered)
    segments.push_back({{"address", reinterpret_cast<uintptr_t>(address)}, {"bytes", bytes}});
  return Json{{"device", to_string(device_)}, {"segments", std::move(segments)}}.dump(2) + "\n";
}

bool wants_direct_allocator() {
  const char* const value = std::getenv("PLINTH_CUDA_ALLOCATOR");
  const std::string_view name = value ? value : "caching";
  check(name == "caching" || name == "direct", ErrorKind::Config, "PLINTH_CUDA_ALLOCATOR", "got '",
        name, "', takes caching or direct");
  return name == "direct";
}

DirectAllocator& direct_allocator(Device device) {
  check_device(device);
  static std::mutex mutex;
  static auto* const all = new std::map<int, std::unique_ptr<DirectAllocator>>;
  const std::lock_guard lock(mutex);
  auto& found = (*all)[device.index];
  if (!found) found = std::make_unique<DirectAllocator>(device);
  return *found;
}

}  // namespace plinth::cuda
