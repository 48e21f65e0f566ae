// The kernels that test the device vocabulary, compiled by nvcc: every PTX instruction of
// kernels/device/ptx/ is assembled for the architectures that have it.

#include "tests/emulator/vocabulary/atomics.h"
#include "tests/emulator/vocabulary/mbarrier.h"
#include "tests/emulator/vocabulary/mma.h"
#include "tests/emulator/vocabulary/tma.h"
#include "tests/emulator/vocabulary/warp.h"

namespace plinth::device {

// Naming a kernel's address in a table instantiates it.
using Kernel = void (*)();
template <class... Parameters>
Kernel erased(void (*kernel)(Parameters...)) {
  return reinterpret_cast<Kernel>(kernel);
}

extern const Kernel kVocabularyKernels[];
const Kernel kVocabularyKernels[] = {
    erased(sum_by_last_block<LastBlockMistake::None>),
    erased(sum_by_last_block<LastBlockMistake::RelaxedTicket>),
    erased(chain<ChainMistake::None>),
    erased(use_atomics<int32_t>),
    erased(use_atomics<uint32_t>),
    erased(use_atomics<int64_t>),
    erased(use_atomics<uint64_t>),
    erased(load_matrices<1, false>),
    erased(load_matrices<2, false>),
    erased(load_matrices<4, false>),
    erased(load_matrices<1, true>),
    erased(load_matrices<2, true>),
    erased(load_matrices<4, true>),
    erased(store_matrices<1, false>),
    erased(store_matrices<2, false>),
    erased(store_matrices<4, false>),
    erased(store_matrices<1, true>),
    erased(store_matrices<2, true>),
    erased(store_matrices<4, true>),
    erased(multiply_tile<BFloat16, false>),
    erased(multiply_tile<Float16, true>),
    erased(pack_pairs<BFloat16>),
    erased(pack_pairs<Float16>),
    erased(take_turns<MbarrierMistake::None>),
    erased(double_tiles<TmaMistake::None, Swizzle::Bytes128, 8, 32>),
    erased(load_box<1>),
    erased(load_box<2>),
    erased(load_box<3>),
    erased(load_box<4>),
    erased(load_box<5>),
    erased(store_box<1>),
    erased(store_box<2>),
    erased(store_box<3>),
    erased(store_box<4>),
    erased(store_box<5>),
    erased(read_back<true>),
    erased(copy_own_stores<true>),
};

}  // namespace plinth::device
