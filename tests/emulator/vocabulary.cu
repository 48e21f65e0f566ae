// The kernels that test the device vocabulary, compiled by nvcc: every PTX instruction of
// kernels/device/ptx/ is assembled for the architectures that have it.

#include "tests/emulator/vocabulary/atomics.h"
#include "tests/emulator/vocabulary/basics.h"
#include "tests/emulator/vocabulary/cluster.h"
#include "tests/emulator/vocabulary/gemm_mma.h"
#include "tests/emulator/vocabulary/gemm_wgmma.h"
#include "tests/emulator/vocabulary/mbarrier.h"
#include "tests/emulator/vocabulary/mma.h"
#include "tests/emulator/vocabulary/tma.h"
#include "tests/emulator/vocabulary/warp.h"
#include "tests/emulator/vocabulary/wgmma.h"

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
    erased(hand_over<true>),
    erased(copy_array<4>),
    erased(copy_array<8>),
    erased(copy_array<16>),
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
    erased(wgmma_tile<BFloat16, 8, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 16, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 24, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 32, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 40, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 48, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 56, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 64, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 72, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 80, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 88, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 96, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 104, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 112, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 120, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 128, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 136, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 144, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 152, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 160, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 168, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 176, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 184, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 192, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 200, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 208, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 216, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 224, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 232, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 240, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 248, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 256, Major::K, Major::K, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 64, Major::K, Major::MN, Swizzle::Bytes128, false>),
    erased(wgmma_tile<BFloat16, 64, Major::MN, Major::K, Swizzle::Bytes128, true>),
    erased(wgmma_tile<Float16, 128, Major::MN, Major::MN, Swizzle::Bytes128, false>),
    erased(wgmma_of_registers<BFloat16, 64>),
    erased(wgmma_of_registers<BFloat16, 80>),
    erased(wgmma_of_registers<BFloat16, 96>),
    erased(wgmma_of_registers<BFloat16, 128>),
    erased(wgmma_of_registers<BFloat16, 192>),
    erased(wgmma_of_registers<BFloat16, 256>),
    erased(wgmma_of_registers<Float16, 64>),
    erased(two_products<BFloat16, 64>),
    erased(two_products<BFloat16, 128>),
    erased(two_products<BFloat16, 256>),
    erased(gemm_mma<BFloat16>),
    erased(gemm_mma<Float16>),
    erased(gemm_wgmma<BFloat16, 64, 4>),
    erased(gemm_wgmma<BFloat16, 128, 4>),
    erased(gemm_wgmma<BFloat16, 256, 3>),
    erased(gemm_wgmma<Float16, 256, 3>),
    erased(read_next_block<ClusterMistake::None>),
    erased(sum_multicast_tiles<MulticastMistake::None>),
    erased(share_registers<SetRegistersMistake::None>),
};

// The host's side: maps, and a launch with clusters and overlap.
void launch_product(const BFloat16* a, const BFloat16* b, BFloat16* c, int64_t m, int64_t n,
                    int64_t k, Stream stream);
void launch_product(const BFloat16* a, const BFloat16* b, BFloat16* c, int64_t m, int64_t n,
                    int64_t k, Stream stream) {
  using G = HopperGemm<128, 4>;
  const auto map = [](const BFloat16* data, int64_t rows, int64_t columns, int64_t box_rows) {
    return make_tensor_map(data, {columns, rows}, {columns}, {64, box_rows}, G::kSwizzle);
  };
  const Dim3 grid(static_cast<uint32_t>(n / 128), static_cast<uint32_t>(m / G::kRows));
  launch("gemm", gemm_wgmma<BFloat16, 128, 4>, {grid, {G::kThreads}, G::kSharedBytes, {2}, true},
         stream, map(a, m, k, G::kRows), map(b, n, k, 128), map(c, m, n, 64),
         static_cast<int>(k / G::kDepth));
}

}  // namespace plinth::device
