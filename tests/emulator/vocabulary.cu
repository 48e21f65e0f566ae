// The kernels that test the device vocabulary, compiled by nvcc: every PTX instruction of
// kernels/device/ptx/ is assembled for the architectures that have it.

#include "tests/emulator/vocabulary/atomics.h"
#include "tests/emulator/vocabulary/warp.h"

namespace plinth::device {

template __global__ void sum_by_last_block<LastBlockMistake::None>(const float*, float*, uint32_t*,
                                                                   float*);
template __global__ void sum_by_last_block<LastBlockMistake::RelaxedTicket>(const float*, float*,
                                                                            uint32_t*, float*);
template __global__ void chain<ChainMistake::None>(int32_t*, int32_t*, int32_t*);
template __global__ void use_atomics<int32_t>(int32_t*);
template __global__ void use_atomics<uint32_t>(uint32_t*);
template __global__ void use_atomics<int64_t>(int64_t*);
template __global__ void use_atomics<uint64_t>(uint64_t*);

}  // namespace plinth::device
