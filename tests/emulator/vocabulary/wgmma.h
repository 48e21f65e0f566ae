#pragma once

#include "kernels/device/device.h"

namespace plinth::device {

enum class WgmmaMistake {
  None,
  NoCopyWait,
  NoFence,
  TouchesAfterFence,
  NoCommit,
  NoWait,
  WaitsForTooFew,
  WaitNamesNone,
  OverwritesBeforeWait,
  WarpMissing,
  OtherSwizzle,
  OtherStride,
  OtherStart,
  StartInsidePattern
};

// d = a b (sign included) for a of 64 x 64 and b of 64 x N, which come by TMA in boxes of the
// operands' layouts; two groups of two products each.
template <class T, int n, Major a_major, Major b_major, Swizzle swizzle, bool negate,
          WgmmaMistake mistake = WgmmaMistake::None>
PLINTH_KERNEL void wgmma_tile(const PLINTH_GRID_CONSTANT TensorMap a_map,
                              const PLINTH_GRID_CONSTANT TensorMap b_map, Global<float> d) {
  if constexpr (kHopper) {
    using A = Operand<a_major, swizzle, 64>;
    using B = Operand<b_major, swizzle, b_major == Major::K ? n : 64>;
    constexpr int kDepth = 64;
    constexpr uint32_t kABytes = 64 * kDepth * 2, kBBytes = n * kDepth * 2;
    const Shared<T> a = shared_array<T>(0, kABytes / 2);
    const Shared<T> b = shared_array<T>(kABytes, kBBytes / 2);
    const Shared<Mbarrier> barrier = shared_array<Mbarrier>(kABytes + kBBytes, 1);
    if (thread_index() == 0) {
      mbarrier_init(barrier, 1);
      mbarrier_fence_init();
      mbarrier_arrive_expect(barrier, kABytes + kBBytes);
      for (uint32_t box = 0; box < kABytes / A::kBoxBytes; ++box)
        tma_load(a + box * A::kBoxBytes / 2, a_map, {static_cast<int>(box * A::kRowElements), 0},
                 barrier);
      for (uint32_t box = 0; box < kBBytes / B::kBoxBytes; ++box)
        tma_load(b + box * B::kBoxBytes / 2, b_map, {static_cast<int>(box * B::kRowElements), 0},
                 barrier);
    }
    block_sync();
    if (mistake != WgmmaMistake::NoCopyWait || warp_index() != 2) mbarrier_wait(barrier, 0);

    Registers<float, n / 2> sum;
    MatrixDescriptor a_first = A::first(a);
    const MatrixDescriptor b_first = B::first(b);
    if (mistake == WgmmaMistake::OtherSwizzle)
      a_first = matrix_descriptor(a, 16, 8 * A::kRowBytes, Swizzle::None);
    if (mistake == WgmmaMistake::OtherStride)
      a_first = matrix_descriptor(a, A::kBoxBytes, 4 * A::kRowBytes, swizzle);
    if (mistake == WgmmaMistake::OtherStart) a_first = a_first + 8 * A::kRowBytes;
    if (mistake == WgmmaMistake::StartInsidePattern) a_first = a_first + 128;
    if (mistake == WgmmaMistake::WarpMissing && warp_index() == 3) return;
    if (mistake != WgmmaMistake::NoFence) wgmma_fence(sum);
    if (mistake == WgmmaMistake::TouchesAfterFence) sum[0] = 0.0f;
    PLINTH_UNROLL
    for (uint32_t step = 0; step < kDepth / 16; ++step) {
      wgmma<T, a_major, b_major, negate>(sum, a_first + A::offset(step), b_first + B::offset(step),
                                         step > 0);
      if (step % 2 == 1 && (mistake != WgmmaMistake::NoCommit || step < 3)) wgmma_commit();
    }
    if (mistake == WgmmaMistake::OverwritesBeforeWait && thread_index() == 0) b[0] = T(0.0f);
    if constexpr (mistake == WgmmaMistake::WaitsForTooFew) {
      wgmma_wait<1>(sum);
    } else if constexpr (mistake == WgmmaMistake::WaitNamesNone) {
      wgmma_wait<0>();
    } else if constexpr (mistake != WgmmaMistake::NoWait) {
      wgmma_wait<0>(sum);
    }
    PLINTH_UNROLL
    for (int i = 0; i < n / 2; ++i) d[accumulator_row(i) * n + accumulator_column(i)] = sum[i];
  }
}

enum class RegisterMistake {
  None,
  NoFence,
  NamesOnlyAccumulators,
  ChangesTooEarly,
  NoAsyncFence,
  FenceAfterBarrier
};

// With A in registers and B, of 16 x N, put into shared memory by ordinary stores: the product, and
// minus that of twice A: d = -a b.
template <class T, int n, RegisterMistake mistake = RegisterMistake::None>
PLINTH_KERNEL void wgmma_of_registers(Global<const T> a, Global<const T> b, Global<float> d) {
  if constexpr (kHopper) {
    using B = Operand<Major::K, Swizzle::Bytes32, n>;
    const Shared<T> tile = shared_array<T>(0, n * 16);
    for (uint32_t i = thread_index(); i < n * 16; i += 128) {
      const T value = b[i];
      tile[swizzled(i * 2, Swizzle::Bytes32) / 2] = value;
    }
    constexpr bool kFences =
        mistake != RegisterMistake::NoAsyncFence && mistake != RegisterMistake::FenceAfterBarrier;
    if (kFences) fence_async_shared();
    block_sync();
    if (mistake == RegisterMistake::FenceAfterBarrier) fence_async_shared();

    const uint32_t row = warp_index() * 16 + lane_index() / 4, k = lane_index() % 4 * 2;
    Registers<uint32_t, 4> fragments[2];
    Registers<float, n / 2> sum;
    const auto load = [&](Registers<uint32_t, 4>& fragment, float factor) {
      PLINTH_UNROLL
      for (int i = 0; i < 4; ++i) {
        const uint32_t at = (row + i % 2 * 8) * 16 + k + i / 2 * 8;
        const T low = a[at], high = a[at + 1];
        fragment[i] = pack<T>(factor * float(low), factor * float(high));
      }
    };
    load(fragments[0], 1.0f);
    load(fragments[1], 2.0f);
    if (mistake == RegisterMistake::NamesOnlyAccumulators) {
      wgmma_fence(sum);
    } else if (mistake != RegisterMistake::NoFence) {
      wgmma_fence(sum, fragments);
    }
    wgmma_from_registers<T>(sum, fragments[0], B::first(tile), false);
    wgmma_from_registers<T, Major::K, true>(sum, fragments[1], B::first(tile), true);
    wgmma_commit();
    if (mistake == RegisterMistake::ChangesTooEarly) load(fragments[1], 3.0f);
    wgmma_wait<0>(sum, fragments);
    PLINTH_UNROLL
    for (int i = 0; i < n / 2; ++i) d[accumulator_row(i) * n + accumulator_column(i)] = sum[i];
  }
}

// d = (a b^T rounded to T) v for a, b of 64 x 64 and v of 64 x N, all by rows: the first product's
// sums are the second's A, in registers; v is Major::MN. What attention does, but for the softmax.
template <class T, int n, bool names_fragments = true>
PLINTH_KERNEL void two_products(const PLINTH_GRID_CONSTANT TensorMap a_map,
                                const PLINTH_GRID_CONSTANT TensorMap b_map,
                                const PLINTH_GRID_CONSTANT TensorMap v_map, Global<float> d) {
  if constexpr (kHopper) {
    using A = Operand<Major::K, Swizzle::Bytes128, 64>;
    using V = Operand<Major::MN, Swizzle::Bytes128, 64>;
    static_assert(n % V::kRowElements == 0);
    constexpr uint32_t kVBytes = n * 64 * 2;
    const Shared<T> a = shared_array<T>(0, A::kBoxBytes / 2);
    const Shared<T> b = shared_array<T>(A::kBoxBytes, A::kBoxBytes / 2);
    const Shared<T> v = shared_array<T>(2 * A::kBoxBytes, kVBytes / 2);
    const Shared<Mbarrier> barrier = shared_array<Mbarrier>(2 * A::kBoxBytes + kVBytes, 1);
    if (thread_index() == 0) {
      mbarrier_init(barrier, 1);
      mbarrier_fence_init();
      mbarrier_arrive_expect(barrier, 2 * A::kBoxBytes + kVBytes);
      tma_load(a, a_map, {0, 0}, barrier);
      tma_load(b, b_map, {0, 0}, barrier);
      for (int box = 0; box < n / static_cast<int>(V::kRowElements); ++box)
        tma_load(v + box * V::kBoxBytes / 2, v_map, {box * static_cast<int>(V::kRowElements), 0},
                 barrier);
    }
    block_sync();
    mbarrier_wait(barrier, 0);
    Registers<float, 32> scores;
    Registers<float, n / 2> sums;
    Registers<uint32_t, 4> fragments[4];
    wgmma_fence(scores);
    PLINTH_UNROLL
    for (uint32_t step = 0; step < 4; ++step)
      wgmma<T>(scores, A::first(a) + A::offset(step), A::first(b) + A::offset(step), step > 0);
    wgmma_commit();
    wgmma_wait<0>(scores);
    PLINTH_UNROLL
    for (int step = 0; step < 4; ++step) sums_to_fragment<T>(scores, step, fragments[step]);
    if constexpr (names_fragments) {
      wgmma_fence(sums, fragments);
    } else {
      wgmma_fence(sums);
    }
    PLINTH_UNROLL
    for (uint32_t step = 0; step < 4; ++step)
      wgmma_from_registers<T, Major::MN>(sums, fragments[step], V::first(v) + V::offset(step),
                                         step > 0);
    wgmma_commit();
    wgmma_wait<0>(sums, fragments);
    PLINTH_UNROLL
    for (int i = 0; i < n / 2; ++i) d[accumulator_row(i) * n + accumulator_column(i)] = sums[i];
  }
}

enum class SetRegistersMistake { None, DecreasesOneWarp, IncreasesFirst, TakesTooMany };

// A producer warpgroup gives registers to two consumers.
template <SetRegistersMistake mistake>
PLINTH_KERNEL_BOUNDS(384, 1)
PLINTH_KERNEL void share_registers(Global<uint32_t> out) {
  if constexpr (kHopper) {
    if (thread_index() < 128) {
      if (mistake != SetRegistersMistake::DecreasesOneWarp || warp_index() == 0) {
        if constexpr (mistake == SetRegistersMistake::IncreasesFirst) {
          registers_increase<24>();
        } else {
          registers_decrease<24>();
        }
      }
    } else if constexpr (mistake == SetRegistersMistake::TakesTooMany) {
      registers_increase<248>();
    } else {
      registers_increase<240>();
    }
    out[thread_index()] = thread_index();
  }
}

}  // namespace plinth::device
