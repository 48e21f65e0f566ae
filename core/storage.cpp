#include "core/storage.h"

#include <utility>

#include "core/allocator.h"
#include "core/stream.h"

namespace plinth {

Storage::Storage(size_t bytes, Device device)
    : bytes_(bytes), device_(device), stream_(current_stream(device)) {
  data_ = allocator(device).allocate(bytes, stream_);
}

Storage::Storage(void* data, size_t bytes, Device device, std::function<void()> release)
    : data_(data), bytes_(bytes), device_(device), release_(std::move(release)) {}

Storage::~Storage() {
  if (release_) {
    release_();
  } else {
    allocator(device_).deallocate(data_, bytes_, stream_);
  }
}

}  // namespace plinth
