#pragma once

// Ranks that have a GPU each: NCCL, on a stream of the group's own.
//
// Work::wait() makes the current stream wait for the group's; the host goes on. A failure comes to
// light while work is under way, and is thrown by the next wait(), or call, after it: NCCL's own
// errors, another rank's that it posted in the store, or the deadline, which names the ranks that
// did not come. The communicator is aborted then, so that nothing waits on the device, and what was
// under way has no result.

#include "distributed/process_group.h"

namespace plinth::distributed {

// All ranks call it with a store that they share and that nothing else has used (a PrefixStore
// serves); it is needed as long as the group lives. Waits for all. Throws Error(Device) unless
// `device` is a GPU of this machine, Error(Nccl) where the library is missing or fails, and
// Error(Io), which names the ranks that did not come within the timeout.
std::shared_ptr<ProcessGroup> make_nccl_group(std::shared_ptr<Store> store, int rank, int size,
                                              Device device, GroupOptions options = {});

}  // namespace plinth::distributed
