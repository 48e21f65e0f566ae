#pragma once

// What a kernel of the GPU leaves behind about an index that is out of range.

#include <cstdint>

namespace plinth::kernels {

// In memory that both device and host reach: pinned host memory.
struct IndexFault {
  uint32_t check = 0;   // number, from 1, of the check that found it; 0: nothing was found
  int64_t element = 0;  // its place among the indices
  int64_t value = 0;
};

}  // namespace plinth::kernels
