#pragma once

// Pinned host memory and device memory of one layout: what the host writes before a step and the
// device reads in it, or the other way round, goes over in one copy that nobody waits for.

#include <cstddef>
#include <cstdint>

#include "core/tensor.h"

namespace plinth::cuda {

class Staging {
 public:
  // Throws Error(OutOfMemory) where either side has no memory left.
  Staging(Device device, size_t bytes);
  // Waits for copies under way.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // The object at byte `offset`, on either side.
  template <class T>
  T* host(size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(host_) + offset);
  }
  template <class T>
  T* device(size_t offset = 0) const {
    return reinterpret_cast<T*>(device_.data<uint8_t>() + offset);
  }
  // The device's bytes from `offset`, a multiple of 8, as a contiguous tensor.
  Tensor tensor(size_t offset, const Shape& shape, DType dtype) const;

  // In the order of this thread's stream. The host may touch its side again when the copy is done.
  void send() const;
  void fetch() const;

 private:
  size_t bytes() const { return static_cast<size_t>(device_.numel()); }

  Tensor device_;
  void* host_;
};

}  // namespace plinth::cuda
