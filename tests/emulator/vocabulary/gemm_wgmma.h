#pragma once

// A product by TMA, mbarriers and wgmma: what an sm_90a kernel needs of the vocabulary, together.

#include "kernels/device/device.h"

namespace plinth::device {

enum class HopperGemmMistake {
  None,
  NoInitFence,
  NoBarrierAfterInit,
  NoEmptyWait,
  WrongEmptyParity,
  NoExpect,
  NoFullWait,
  WrongFullParity,
  NoProductFence,
  NoProductCommit,
  NoProductWait,
  ReleasesTooEarly,
  NoRelease,
  NoAsyncFence,
  NoBarrierBeforeStore,
  NoStoreCommit,
  NoStoreWait
};

// A tile of 128 x kColumns, 64 of K at a time in kStages stages. The first warpgroup's first warp
// fetches; each of the two others multiplies 64 rows.
template <int kColumns, int kStages>
struct HopperGemm {
  static_assert(kColumns % 64 == 0);
  static constexpr int kRows = 128, kDepth = 64, kThreads = 384;
  static constexpr Swizzle kSwizzle = Swizzle::Bytes128;
  using A = Operand<Major::K, kSwizzle, 64>;  // of one warpgroup
  using B = Operand<Major::K, kSwizzle, kColumns>;
  static constexpr uint32_t kABytes = kRows * kDepth * 2, kBBytes = kColumns * kDepth * 2;
  static constexpr uint32_t kStageBytes = kABytes + kBBytes;
  static constexpr uint32_t kCBox = 64 * 128;  // 64 rows of 64 columns
  static constexpr uint32_t kCOffset = kStages * kStageBytes;
  static constexpr uint32_t kBarriers = kCOffset + kRows * kColumns * 2;
  static constexpr uint32_t kSharedBytes = kBarriers + 2 * kStages * 8;
};

// Which stage a step uses, and the parity of its phase.
template <int kStages>
struct Stage {
  PLINTH_DEVICE explicit Stage(int step) : index(step % kStages), parity(step / kStages % 2) {}
  int index;
  uint32_t parity;
};

template <class T, int kColumns, int kStages, HopperGemmMistake mistake>
PLINTH_DEVICE void fetch_tiles(const TensorMap& a_map, const TensorMap& b_map, int steps) {
  using G = HopperGemm<kColumns, kStages>;
  const Shared<Mbarrier> full = shared_array<Mbarrier>(G::kBarriers, kStages);
  const Shared<Mbarrier> empty = shared_array<Mbarrier>(G::kBarriers + kStages * 8, kStages);
  const int row = static_cast<int>(block_index().y) * G::kRows;
  const int column = static_cast<int>(block_index().x) * kColumns;
  for (int step = 0; step < steps; ++step) {
    const Stage<kStages> stage(step);
    const uint32_t parity = mistake == HopperGemmMistake::WrongEmptyParity ? 0 : 1;
    if (mistake != HopperGemmMistake::NoEmptyWait)
      mbarrier_wait(empty + stage.index, stage.parity ^ parity);
    if (mistake == HopperGemmMistake::NoExpect) {
      mbarrier_arrive(full + stage.index);
    } else {
      mbarrier_arrive_expect(full + stage.index, G::kStageBytes);
    }
    const Shared<T> a = shared_array<T>(stage.index * G::kStageBytes, G::kStageBytes / 2);
    tma_load(a, a_map, {step * G::kDepth, row}, full + stage.index);
    tma_load(a + G::kABytes / 2, b_map, {step * G::kDepth, column}, full + stage.index);
  }
}

// The warpgroup's 64 rows of sums to shared memory, as TMA stores them, and on to c.
template <class T, int kColumns, int kStages, HopperGemmMistake mistake>
PLINTH_DEVICE void store_tile(const TensorMap& c_map, Registers<float, kColumns / 2>& sums,
                              uint32_t group) {
  using G = HopperGemm<kColumns, kStages>;
  const Shared<T> tile = shared_array<T>(G::kCOffset + group * 64 * kColumns * 2, 64 * kColumns);
  const uint32_t lane = lane_index(), row = warp_index() % 4 * 16 + lane % 16;
  PLINTH_UNROLL
  for (int j = 0; j < kColumns / 16; ++j) {
    uint32_t pairs[4];
    PLINTH_UNROLL
    for (int i = 0; i < 4; ++i) pairs[i] = pack<T>(sums[8 * j + 2 * i], sums[8 * j + 2 * i + 1]);
    const uint32_t column = 16 * j + lane / 16 * 8;
    const uint32_t offset = swizzled(row * 128 + column % 64 * 2, G::kSwizzle);
    store_matrix(tile + (column / 64 * G::kCBox + offset) / 2, pairs);
  }
  if (mistake != HopperGemmMistake::NoAsyncFence) fence_async_shared();
  if (mistake != HopperGemmMistake::NoBarrierBeforeStore) named_sync(1 + group, 128);
  if (thread_index() % 128 != 0) return;
  const int first_row = static_cast<int>(block_index().y) * G::kRows + static_cast<int>(group) * 64;
  const int first_column = static_cast<int>(block_index().x) * kColumns;
  PLINTH_UNROLL
  for (int box = 0; box < kColumns / 64; ++box)
    tma_store(c_map, {first_column + box * 64, first_row}, tile + box * G::kCBox / 2);
  if (mistake != HopperGemmMistake::NoStoreCommit) bulk_commit();
  if (mistake != HopperGemmMistake::NoStoreWait) bulk_wait_read<0>();
}

template <class T, int kColumns, int kStages, HopperGemmMistake mistake>
PLINTH_DEVICE void multiply_tiles(const TensorMap& c_map, int steps, uint32_t group) {
  using G = HopperGemm<kColumns, kStages>;
  const Shared<Mbarrier> full = shared_array<Mbarrier>(G::kBarriers, kStages);
  const Shared<Mbarrier> empty = shared_array<Mbarrier>(G::kBarriers + kStages * 8, kStages);
  const bool leader = thread_index() % 128 == 0;
  const auto release = [&](int step) {
    if (leader && mistake != HopperGemmMistake::NoRelease)
      mbarrier_arrive(empty + Stage<kStages>(step).index);
  };
  Registers<float, kColumns / 2> sums;
  for (int step = 0; step < steps; ++step) {
    const Stage<kStages> stage(step);
    const uint32_t parity = mistake == HopperGemmMistake::WrongFullParity ? 1 : 0;
    if (mistake != HopperGemmMistake::NoFullWait)
      mbarrier_wait(full + stage.index, stage.parity ^ parity);
    const Shared<T> a = shared_array<T>(stage.index * G::kStageBytes, G::kStageBytes / 2);
    const MatrixDescriptor a_first = G::A::first(a + group * 64 * G::kDepth);
    const MatrixDescriptor b_first = G::B::first(a + G::kABytes / 2);
    if (mistake != HopperGemmMistake::NoProductFence) wgmma_fence(sums);
    PLINTH_UNROLL
    for (uint32_t k = 0; k < G::kDepth / 16; ++k)
      wgmma<T>(sums, a_first + G::A::offset(k), b_first + G::B::offset(k), step > 0 || k > 0);
    if (mistake != HopperGemmMistake::NoProductCommit) wgmma_commit();
    if (mistake == HopperGemmMistake::ReleasesTooEarly) {
      release(step);
      continue;
    }
    // One group stays under way; the step before has been read.
    wgmma_wait<1>();
    if (step > 0) release(step - 1);
  }
  if (mistake != HopperGemmMistake::NoProductWait) wgmma_wait<0>(sums);
  store_tile<T, kColumns, kStages, mistake>(c_map, sums, group);
}

// c = a b^T for a of m x k, b of n x k, by maps of boxes of 64 x 128, 64 x kColumns (k first) and
// 64 x 64 (columns first). One block a tile.
template <class T, int kColumns, int kStages, HopperGemmMistake mistake = HopperGemmMistake::None>
PLINTH_KERNEL_BOUNDS(384, 1)
PLINTH_KERNEL void gemm_wgmma(const PLINTH_GRID_CONSTANT TensorMap a_map,
                              const PLINTH_GRID_CONSTANT TensorMap b_map,
                              const PLINTH_GRID_CONSTANT TensorMap c_map, int steps) {
  if constexpr (kHopper) {
    using G = HopperGemm<kColumns, kStages>;
    const Shared<Mbarrier> full = shared_array<Mbarrier>(G::kBarriers, kStages);
    const Shared<Mbarrier> empty = shared_array<Mbarrier>(G::kBarriers + kStages * 8, kStages);
    if (thread_index() == 0) {
      tma_prefetch(a_map);
      tma_prefetch(b_map);
      for (int stage = 0; stage < kStages; ++stage) {
        mbarrier_init(full + stage, 1);
        mbarrier_init(empty + stage, 2);
      }
      if (mistake != HopperGemmMistake::NoInitFence) mbarrier_fence_init();
    }
    if (mistake != HopperGemmMistake::NoBarrierAfterInit) block_sync();
    dependency_wait();
    const uint32_t group = thread_index() / 128;
    if (group == 0) {
      registers_decrease<40>();
      if (warp_index() == 0 && elect_one())
        fetch_tiles<T, kColumns, kStages, mistake>(a_map, b_map, steps);
    } else {
      registers_increase<232>();
      multiply_tiles<T, kColumns, kStages, mistake>(c_map, steps, group - 1);
    }
  }
}

}  // namespace plinth::device
