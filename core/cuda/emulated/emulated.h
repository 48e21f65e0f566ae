#pragma once

// What tests may ask of the emulated device.

#include <cstdint>

namespace plinth::cuda::emulated {

// Bytes of memory that the device has; 1 GiB until this is called. Blocks in use stay.
void set_memory(int64_t bytes);

// As after an error that does not go away: all that waits for the device throws Error(Cuda).
void set_failed(bool failed);

// Work is done only when the host waits for it; who asks for an event, however often, is told that
// it is not there yet.
void set_busy(bool busy);

// Work that the host has given to the device since the start, by kind of call. What a graph holds
// is given when it is captured.
struct HostCalls {
  int64_t copies = 0, fills = 0, kernel_launches = 0, graph_launches = 0;
};
HostCalls host_calls();

}  // namespace plinth::cuda::emulated
