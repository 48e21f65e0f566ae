#pragma once

// Memory that NCCL's collectives read and write where it lies, without copies to buffers of its
// own.

#include <cstddef>
#include <memory>

#include "core/device.h"
#include "distributed/nccl/communicator.h"

namespace plinth::distributed::nccl {

class Buffer {
 public:
  // Registered with the communicator: as a symmetric window from NCCL 2.27 on, from 2.19 for this
  // rank alone. All ranks call it, in the same order and with the same size. Null where the version
  // has neither. Throws Error(OutOfMemory), and what Communicator::call() does.
  static std::shared_ptr<Buffer> create(Communicator& communicator, Device device, size_t bytes);
  // Waits for the device. The communicator, whose registration it is, has to be gone.
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }

 private:
  Buffer(Device device, void* data) : device_(device), data_(data) {}

  const Device device_;
  void* const data_;
};

}  // namespace plinth::distributed::nccl
