#pragma once

// Barriers in shared memory (mbarrier, sm_90), at which threads and asynchronous copies arrive.
//
// A phase ends when `count` arrivals and all expected bytes have come; the next begins at once.
// Waiting for parity p is waiting for the end of the current phase if that has parity p (the first
// has 0), and returns at once if the phase before it had.

#include "kernels/device/emulate/mbarrier_state.h"
#include "kernels/device/emulate/pointers.h"

namespace plinth::device {

struct Mbarrier {
  uint64_t state;
};

// One thread makes it; then mbarrier_fence_init() by that thread, and a barrier before others use
// it.
inline void mbarrier_init(Shared<Mbarrier> barrier, uint32_t count,
                          Location at = Location::current()) {
  emulate::make_mbarrier(barrier.raw(), count, at);
}
PLINTH_MAY_BE_LEFT_OUT inline void mbarrier_fence_init() {
  PLINTH_LEAVE_OUT();
  emulate::show_mbarriers();
}
// The bytes may then be used for something else.
inline void mbarrier_invalidate(Shared<Mbarrier> barrier, Location at = Location::current()) {
  emulate::end_mbarrier(barrier.raw(), at);
}

PLINTH_MAY_BE_LEFT_OUT inline void mbarrier_arrive(Shared<Mbarrier> barrier, uint32_t count = 1,
                                                   Location at = Location::current()) {
  PLINTH_LEAVE_OUT();
  emulate::mbarrier_at(barrier.raw(), at).arrive(count, false, at);
}
// Announces bytes that copies will bring; and arrives.
PLINTH_MAY_BE_LEFT_OUT inline void mbarrier_expect(Shared<Mbarrier> barrier, uint32_t bytes,
                                                   Location at = Location::current()) {
  PLINTH_LEAVE_OUT();
  emulate::mbarrier_at(barrier.raw(), at).expect(bytes, at);
}
PLINTH_MAY_BE_LEFT_OUT inline void mbarrier_arrive_expect(Shared<Mbarrier> barrier, uint32_t bytes,
                                                          Location at = Location::current()) {
  PLINTH_LEAVE_OUT();
  mbarrier_expect(barrier, bytes, at);
  mbarrier_arrive(barrier, 1, at);
}
// What a copy of so many bytes does when it has landed.
inline void mbarrier_complete(Shared<Mbarrier> barrier, uint32_t bytes,
                              Location at = Location::current()) {
  emulate::mbarrier_at(barrier.raw(), at).complete(bytes, at);
}

PLINTH_MAY_BE_LEFT_OUT inline void mbarrier_wait(Shared<Mbarrier> barrier, uint32_t parity,
                                                 Location at = Location::current()) {
  PLINTH_LEAVE_OUT();
  emulate::wait_for_mbarrier(barrier.raw(), parity, false, at);
}
// Whether the phase is over; if so, it has been waited for.
inline bool mbarrier_try_wait(Shared<Mbarrier> barrier, uint32_t parity,
                              Location at = Location::current()) {
  return emulate::try_mbarrier(barrier.raw(), parity, at);
}

// ---- across a cluster ----

// Arrives at the mbarrier that block `rank` of the cluster has at the same place as this block.
inline void mbarrier_arrive_peer(Shared<Mbarrier> barrier, uint32_t rank,
                                 Location at = Location::current()) {
  emulate::MbarrierState& there =
      emulate::mbarrier_at(emulate::in_peer(barrier.raw(), rank, at), at);
  there.arrive(1, rank != Block::current().rank(), at);
}
// The wait that sees what blocks that arrived from elsewhere wrote before.
inline void mbarrier_wait_cluster(Shared<Mbarrier> barrier, uint32_t parity,
                                  Location at = Location::current()) {
  emulate::wait_for_mbarrier(barrier.raw(), parity, true, at);
}

}  // namespace plinth::device
