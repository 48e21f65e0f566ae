#pragma once

// The bytes that one or several tensors share.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/device.h"

namespace plinth {

class Storage {
 public:
  // Uninitialised memory from the device's allocator, for this thread's stream.
  Storage(size_t bytes, Device device);
  // Borrowed memory; `release` is called when the last tensor lets go.
  Storage(void* data, size_t bytes, Device device, std::function<void()> release);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  // Counts the in-place writes, so that backward can tell that a tensor which it saved has changed.
  uint32_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  void* data_;
  size_t bytes_;
  Device device_;
  Stream stream_ = {};
  uint32_t version_ = 0;
  std::function<void()> release_;
};

}  // namespace plinth
