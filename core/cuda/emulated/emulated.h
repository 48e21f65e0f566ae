#pragma once

// What tests may ask of the emulated device.

#include <cstdint>

namespace plinth::cuda::emulated {

// Bytes of memory that the device has; 1 GiB until this is called. Blocks in use stay.
void set_memory(int64_t bytes);

}  // namespace plinth::cuda::emulated
