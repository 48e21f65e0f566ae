#pragma once

// All ranks of a run as one group.

#include <memory>

#include "core/device.h"
#include "distributed/process_group.h"
#include "distributed/rendezvous.h"

namespace plinth::distributed {

// Meets the other ranks, and connects to them: by Gloo for the CPU, by NCCL for a GPU. On several
// hosts a rank of the CPU is reached by its host's name, or on the network interface that
// GLOO_SOCKET_IFNAME (PyTorch's variable) names. A world of one needs nobody.
//
// Throws Error(Io) where some rank does not come within the timeout, Error(Device) for a
// GPU that this build or machine has not, Error(Nccl) where NCCL is missing or fails.
std::shared_ptr<ProcessGroup> join_world(const Rendezvous& place, Device device,
                                         Milliseconds timeout);

}  // namespace plinth::distributed
