#pragma once

// Clusters of blocks (sm_90): blocks that run together and reach each other's shared memory.

#include "kernels/device/emulate/cluster.h"
#include "kernels/device/emulate/pointers.h"

namespace plinth::device {

inline uint32_t cluster_rank() {
  return Block::current().rank();
}
inline uint32_t cluster_blocks() {
  return static_cast<uint32_t>(Block::current().cluster().blocks().size());
}

// The barrier of all threads of the cluster, whole or in two halves. What a thread wrote before it
// arrived, others see after they have waited.
inline void cluster_arrive(Location at = Location::current()) {
  Block::current().cluster().arrive(at);
}
inline void cluster_wait(Location at = Location::current()) {
  Block::current().cluster().wait(at);
}
inline void cluster_sync(Location at = Location::current()) {
  cluster_arrive(at);
  cluster_wait(at);
}

// The same place in the shared memory of block `rank`, for ordinary loads and stores. That block
// must not end before.
template <class T>
Shared<T> peer(Shared<T> p, uint32_t rank, Location at = Location::current()) {
  return Shared<T>(static_cast<T*>(emulate::in_peer(p.raw(), rank, at)));
}

// ---- programmatic dependent launch: nothing, since kernels do not overlap here ----

// Waits until the kernel before, with which this one overlaps, has ended and its writes are seen.
inline void dependency_wait() {}
// Lets the kernel after begin, once all blocks have called this or ended.
inline void dependency_launch() {}

}  // namespace plinth::device
