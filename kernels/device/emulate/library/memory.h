#pragma once

// Device memory as the emulator's libraries reach it: on the host, when their work is done.

#include <cstddef>

namespace plinth::emulate {

// Throws KernelError unless a library's work may access [address, address + bytes) of device
// memory. `what` names its argument.
void check_library_access(const void* address, size_t bytes, bool write, const char* what);

}  // namespace plinth::emulate
