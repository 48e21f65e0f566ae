#pragma once

#include "kernels/device/device.h"

namespace plinth::device {

enum class MbarrierMistake {
  None,
  NoInit,
  NoBarrierAfterInit,
  NoWait,
  WrongParity,
  TooFewArrive,
  Misaligned,
  OrdinaryStore
};

// Two warps take turns `turns` times: the first writes 32 values, the second adds them up. `full`
// and `empty` have a phase each turn.
template <MbarrierMistake mistake>
PLINTH_KERNEL void take_turns(Global<float> sums, int turns) {
  if constexpr (kHopper) {
    const Shared<Mbarrier> barriers = shared_array<Mbarrier>(0, 2);
    const Shared<float> values = shared_array<float>(16, 32);
    const Shared<Mbarrier> full = barriers, empty = barriers + 1;
    const uint32_t lane = lane_index();
    if (thread_index() == 0) {
      if (mistake != MbarrierMistake::NoInit) mbarrier_init(full, 32);
      mbarrier_init(empty, 32);
      mbarrier_fence_init();
      if (mistake == MbarrierMistake::OrdinaryStore) shared_array<float>(0, 4)[0] = 1.0f;
      if (mistake == MbarrierMistake::Misaligned) mbarrier_init(shared_array<Mbarrier>(148, 1), 32);
    }
    if (mistake != MbarrierMistake::NoBarrierAfterInit) block_sync();
    for (int turn = 0; turn < turns; ++turn) {
      const uint32_t parity = turn % 2;
      if (warp_index() == 0) {
        mbarrier_wait(empty, mistake == MbarrierMistake::WrongParity ? parity : parity ^ 1);
        values[lane] = static_cast<float>(turn) + static_cast<float>(lane);
        if (mistake == MbarrierMistake::TooFewArrive && lane == 5) continue;
        mbarrier_arrive(full);
      } else {
        if (mistake != MbarrierMistake::NoWait) {
          while (!mbarrier_try_wait(full, parity)) {
          }
        }
        float sum = 0;
        for (uint32_t i = 0; i < 32; ++i) sum += values[(lane + i) % 32];
        if (lane == 0) sums[turn] = sum;
        mbarrier_arrive(empty);
      }
    }
  }
}

// One thread ends `turns` phases, each of which another waits for. It lets that one see a phase
// before it ends the next, or merely leaves it time to.
template <bool asks>
PLINTH_KERNEL void end_phases(int turns) {
  if constexpr (kHopper) {
    const Shared<Mbarrier> phases = shared_array<Mbarrier>(0, 3), seen = phases + 1,
                           never = phases + 2;
    if (thread_index() == 0) {
      mbarrier_init(phases, 1);
      mbarrier_init(seen, 1);
      mbarrier_init(never, 1);
      mbarrier_fence_init();
    }
    block_sync();
    for (int turn = 0; turn < turns; ++turn) {
      const uint32_t parity = turn % 2;
      if (thread_index() == 0) {
        mbarrier_wait(phases, parity);
        mbarrier_arrive(seen);
      } else {
        mbarrier_arrive(phases);
        if (asks) {
          mbarrier_wait(seen, parity);
        } else {
          for (int looks = 0; looks < 3; ++looks) mbarrier_try_wait(never, 0);
        }
      }
    }
  }
}

// Bytes arrive without a copy; the mbarrier is ended and its place used anew.
PLINTH_KERNEL void count_bytes(Global<float> out) {
  if constexpr (kHopper) {
    const Shared<Mbarrier> barrier = shared_array<Mbarrier>(0, 1);
    mbarrier_init(barrier, 1);
    mbarrier_fence_init();
    mbarrier_expect(barrier, 64);
    mbarrier_arrive_expect(barrier, 32);
    mbarrier_complete(barrier, 48);
    const bool early = mbarrier_try_wait(barrier, 0);
    mbarrier_complete(barrier, 48);
    mbarrier_wait(barrier, 0);
    mbarrier_invalidate(barrier);
    const Shared<float> place = shared_array<float>(0, 2);
    place[0] = early ? 1.0f : 2.0f;
    const float value = place[0];
    out[0] = value;
  }
}

PLINTH_KERNEL void arrive_too_often() {
  if constexpr (kHopper) {
    const Shared<Mbarrier> barrier = shared_array<Mbarrier>(0, 1);
    mbarrier_init(barrier, 2);
    mbarrier_arrive(barrier, 1);
    mbarrier_expect(barrier, 16);
    mbarrier_arrive(barrier, 1);
    mbarrier_arrive(barrier, 1);
  }
}

PLINTH_KERNEL void more_bytes_than_expected() {
  if constexpr (kHopper) {
    const Shared<Mbarrier> barrier = shared_array<Mbarrier>(0, 1);
    mbarrier_init(barrier, 1);
    mbarrier_fence_init();
    mbarrier_complete(barrier, 48);
    mbarrier_arrive_expect(barrier, 32);
  }
}

}  // namespace plinth::device
