#pragma once

// All ranks of a run as one group.

#include <memory>

#include "core/device.h"
#include "distributed/process_group.h"
#include "distributed/rendezvous.h"

namespace plinth::distributed {

// Meets the other ranks, and connects to them: by Gloo for a device that is the CPU. On several
// hosts a rank is reached by its host's name, or on the network interface that
// GLOO_SOCKET_IFNAME (PyTorch's variable) names. A world of one needs nobody.
//
// Throws Error(Distributed) where some rank does not come within the timeout, and Error(Device) for
// a device that no backend of this build serves.
std::shared_ptr<ProcessGroup> join_world(const Rendezvous& place, Device device,
                                         Milliseconds timeout);

}  // namespace plinth::distributed
