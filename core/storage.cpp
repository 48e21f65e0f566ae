#include "core/storage.h"

#include <utility>

#include "core/allocator.h"

namespace plinth {

Storage::Storage(size_t bytes, Device device)
    : data_(allocator(device).allocate(bytes, Stream{device, nullptr})),
      bytes_(bytes),
      device_(device) {}

Storage::Storage(void* data, size_t bytes, Device device, std::function<void()> release)
    : data_(data), bytes_(bytes), device_(device), release_(std::move(release)) {}

Storage::~Storage() {
  if (release_) {
    release_();
  } else {
    allocator(device_).deallocate(data_, bytes_, Stream{device_, nullptr});
  }
}

}  // namespace plinth
