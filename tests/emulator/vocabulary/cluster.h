#pragma once

#include "kernels/device/device.h"

namespace plinth::device {

enum class ClusterMistake { None, NoSyncBeforeRead, NoSyncAtEnd, WaitsWithoutArriving };

// Each block of a cluster reads what the next has put into its shared memory.
template <ClusterMistake mistake>
PLINTH_KERNEL void read_next_block(Global<int32_t> out) {
  if constexpr (kHopper) {
    const Shared<int32_t> values = shared_array<int32_t>(0, 32);
    const uint32_t i = thread_index(), rank = cluster_rank(), blocks = cluster_blocks();
    values[i] = static_cast<int32_t>(rank * 100 + i);
    if constexpr (mistake == ClusterMistake::WaitsWithoutArriving) {
      cluster_wait();
    } else if constexpr (mistake != ClusterMistake::NoSyncBeforeRead) {
      cluster_arrive();
      cluster_wait();
    }
    const int32_t value = peer(values, (rank + 1) % blocks)[31 - i];
    out[block_index().x * 32 + i] = value;
    if (mistake != ClusterMistake::NoSyncAtEnd) cluster_sync();
  }
}

enum class MulticastMistake {
  None,
  NoClusterSync,
  OthersDoNotExpect,
  NoClusterWait,
  NoRemoteArrive,
  NoSyncAtEnd,
  NoWait
};

// Block 0 of a cluster brings tiles of 256 floats to all its blocks; each block sums them. Block 0
// brings the next when all have arrived at its `empty`.
template <MulticastMistake mistake>
PLINTH_KERNEL void sum_multicast_tiles(const PLINTH_GRID_CONSTANT TensorMap map, int tiles,
                                       Global<float> sums) {
  if constexpr (kHopper) {
    constexpr uint32_t kBytes = 256 * 4;
    const Shared<float> tile = shared_array<float>(0, 256);
    const Shared<Mbarrier> full = shared_array<Mbarrier>(kBytes, 1);
    const Shared<Mbarrier> empty = shared_array<Mbarrier>(kBytes + 8, 1);
    const uint32_t lane = thread_index(), blocks = cluster_blocks();
    if (lane == 0) {
      mbarrier_init(full, 1);
      mbarrier_init(empty, blocks);
      mbarrier_fence_init();
    }
    if (mistake != MulticastMistake::NoClusterSync) cluster_sync();
    float sum = 0;
    for (int t = 0; t < tiles; ++t) {
      if (lane == 0) {
        if (mistake != MulticastMistake::OthersDoNotExpect || cluster_rank() == 0)
          mbarrier_arrive_expect(full, kBytes);
        if (cluster_rank() == 0) {
          if (mistake == MulticastMistake::NoClusterWait) {
            mbarrier_wait(empty, t % 2 ^ 1);
          } else {
            mbarrier_wait_cluster(empty, t % 2 ^ 1);
          }
          tma_load_multicast(tile, map, {t * 256}, full, static_cast<uint16_t>((1u << blocks) - 1));
        }
      }
      if (mistake != MulticastMistake::NoWait) mbarrier_wait(full, t % 2);
      for (uint32_t i = 0; i < 256; i += 32) {
        const float value = tile[i + lane];
        sum += value;
      }
      warp_sync();
      if (lane == 0 && mistake != MulticastMistake::NoRemoteArrive) mbarrier_arrive_peer(empty, 0);
    }
    sums[block_index().x * 32 + lane] = sum;
    if (mistake != MulticastMistake::NoSyncAtEnd) cluster_sync();
  }
}

PLINTH_KERNEL void overlap_previous(Global<float> x) {
  dependency_wait();
  const float value = x[0];
  x[0] = value + 1;
  dependency_launch();
}

}  // namespace plinth::device
