#include <cuda_runtime_api.h>

#include "kernels/c_api/launch_error.h"

namespace plinth::kernels::c_api {

// Taking the error would hide it from the caller's own checks.
const char* launch_error() {
  const cudaError_t error = cudaPeekAtLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace plinth::kernels::c_api
