#include "core/cuda/staging.h"

#include <algorithm>

#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/stream.h"

namespace plinth::cuda {

Staging::Staging(Device device, size_t bytes)
    : device_(Tensor::empty({static_cast<int64_t>(bytes)}, {DType::UInt8, device})),
      host_(host_allocate(std::max<size_t>(bytes, 1))) {
  check(host_ != nullptr, ErrorKind::OutOfMemory, "allocate", "no ", bytes,
        " bytes of pinned host memory left");
}

Staging::~Staging() {
  try {
    cuda::synchronize(device_.device());
  } catch (const std::exception&) {
    // A device that failed copies nothing any more.
  }
  host_free(host_);
}

Tensor Staging::tensor(size_t offset, const Shape& shape, DType dtype) const {
  return Tensor::from_storage(device_.storage(), shape, shape.contiguous_strides(),
                              static_cast<int64_t>(offset / size_of(dtype)), dtype);
}

void Staging::send() const {
  copy(device_.raw_data(), host_, bytes(), current_stream(device_.device()));
}

void Staging::fetch() const {
  copy(host_, device_.raw_data(), bytes(), current_stream(device_.device()));
}

}  // namespace plinth::cuda
