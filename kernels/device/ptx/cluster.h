#pragma once

// Clusters of blocks (sm_90), and the order of kernels that overlap; emulate/cluster_operations.h
// says what each does.

#include <cstdint>

namespace plinth::device {

PLINTH_DEVICE uint32_t cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
PLINTH_DEVICE uint32_t cluster_blocks() {
  uint32_t count;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(count));
  return count;
}

PLINTH_DEVICE void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
PLINTH_DEVICE void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
PLINTH_DEVICE void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

// A generic address, which ordinary loads and stores take.
template <class T>
PLINTH_DEVICE T* peer(T* p, uint32_t rank) {
  T* there;
  asm volatile("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(p), "r"(rank));
  return there;
}

// ---- programmatic dependent launch ----

PLINTH_DEVICE void dependency_wait() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
PLINTH_DEVICE void dependency_launch() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace plinth::device
