#pragma once

// What tests may ask of the emulator's cuDNN.

#include <cstdint>

namespace plinth::emulate {

// The engines that its heuristics propose, in this order: the first three by mode A, the last by
// the fallback.
enum CudnnEngine : int {
  kEngineNondeterministic = 0,
  kEngineTensorCore = 1,  // of float32, with operands rounded to TF32
  kEngineUnfit = 2,       // proposed, but no plan can be made of it
  kEnginePlain = 3,
};

struct CudnnState {
  bool missing = false;                // as on a system without the library
  bool only_nondeterministic = false;  // heuristics propose that engine alone
  int64_t live_descriptors = 0;
  int64_t graphs = 0;      // finalized so far
  int64_t executions = 0;  // begun so far
  int last_engine = -1;    // of the last execution
};
CudnnState& cudnn();

}  // namespace plinth::emulate
