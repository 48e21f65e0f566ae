#include "distributed/nccl/buffer.h"

#include "core/cuda/runtime.h"
#include "core/error.h"

namespace plinth::distributed::nccl {

std::shared_ptr<Buffer> Buffer::create(Communicator& communicator, Device device, size_t bytes) {
  const Library& nccl = library();
  if (!nccl.mem_alloc || !nccl.mem_free || !nccl.comm_register) return nullptr;
  void* data = nullptr;
  const int result = nccl.mem_alloc(&data, bytes);
  check(result == kSuccess, ErrorKind::OutOfMemory, "ncclMemAlloc", "got ", bytes,
        " bytes to allocate: ", nccl.error_string(result));
  const std::shared_ptr<Buffer> buffer(new Buffer(device, data));
  void* handle = nullptr;  // of what is given up with the communicator
  if (nccl.window_register) {
    communicator.call("ncclCommWindowRegister", [&](const Library& library, void* comm) {
      return library.window_register(comm, data, bytes, &handle, kSymmetricWindow);
    });
  } else {
    communicator.call("ncclCommRegister", [&](const Library& library, void* comm) {
      return library.comm_register(comm, data, bytes, &handle);
    });
  }
  return buffer;
}

Buffer::~Buffer() {
  try {
    cuda::synchronize(device_);
  } catch (const Error&) {  // of the work, which whoever waits for it is told
  }
  library().mem_free(data_);
}

}  // namespace plinth::distributed::nccl
