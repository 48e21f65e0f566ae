#pragma once

// Barriers in shared memory (mbarrier, sm_90); emulate/mbarrier.h says what each does.

#include <cstdint>

#include "kernels/device/ptx/mma.h"

namespace plinth::device {

struct alignas(8) Mbarrier {
  uint64_t state;
};

PLINTH_DEVICE void mbarrier_init(Mbarrier* barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
               : "memory");
}
PLINTH_DEVICE void mbarrier_fence_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
PLINTH_DEVICE void mbarrier_invalidate(Mbarrier* barrier) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

PLINTH_DEVICE void mbarrier_arrive(Mbarrier* barrier, uint32_t count = 1) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(count)
               : "memory");
}
PLINTH_DEVICE void mbarrier_expect(Mbarrier* barrier, uint32_t bytes) {
  asm volatile(
      "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
PLINTH_DEVICE void mbarrier_arrive_expect(Mbarrier* barrier, uint32_t bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
PLINTH_DEVICE void mbarrier_complete(Mbarrier* barrier, uint32_t bytes) {
  asm volatile("mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
}

// The hardware suspends the thread for a while before it answers no.
#define PLINTH_TRY_WAIT(semantics)                \
  uint32_t over;                                  \
  asm volatile(                                   \
      "{\n\t.reg .pred p;\n\t"                    \
      "mbarrier.try_wait.parity" semantics        \
      ".shared::cta.b64 p, [%1], %2;\n\t"         \
      "selp.u32 %0, 1, 0, p;\n\t}"                \
      : "=r"(over)                                \
      : "r"(shared_address(barrier)), "r"(parity) \
      : "memory");                                \
  return over != 0
PLINTH_DEVICE bool mbarrier_try_wait(Mbarrier* barrier, uint32_t parity) {
  PLINTH_TRY_WAIT("");
}
PLINTH_DEVICE bool mbarrier_try_wait_cluster(Mbarrier* barrier, uint32_t parity) {
  PLINTH_TRY_WAIT(".acquire.cluster");
}
#undef PLINTH_TRY_WAIT

PLINTH_DEVICE void mbarrier_wait(Mbarrier* barrier, uint32_t parity) {
  while (!mbarrier_try_wait(barrier, parity)) {
  }
}

// ---- across a cluster ----

PLINTH_DEVICE void mbarrier_arrive_peer(Mbarrier* barrier, uint32_t rank) {
  asm volatile(
      "{\n\t.reg .b32 remote;\n\t"
      "mapa.shared::cluster.u32 remote, %0, %1;\n\t"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n\t}" ::"r"(
          shared_address(barrier)),
      "r"(rank)
      : "memory");
}
PLINTH_DEVICE void mbarrier_wait_cluster(Mbarrier* barrier, uint32_t parity) {
  while (!mbarrier_try_wait_cluster(barrier, parity)) {
  }
}

}  // namespace plinth::device
