#pragma once

// What tests may ask of the emulator's cuBLASLt.

#include <cstddef>
#include <cstdint>

namespace plinth::emulate {

struct CublasLtState {
  bool missing = false;  // as on a system without the library
  size_t version = 130000;
  uint64_t heuristics = 0;  // calls so far, and of the matrix product
  uint64_t products = 0;
  uint64_t last_algorithm = 0;  // the number of the algorithm of the last product
  uint64_t refused = 0;         // that many, from number 0 on, are proposed but do not run
};
CublasLtState& cublaslt();

}  // namespace plinth::emulate
