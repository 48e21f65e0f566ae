#pragma once

#include "core/op_scope.h"

namespace plinth::cuda {

// Passes every scope on to NVIDIA's tools (Nsight Systems) as an NVTX range; one for the process,
// that lives as long. Null in a build without the backend.
ScopeListener* nvtx_listener();

}  // namespace plinth::cuda
