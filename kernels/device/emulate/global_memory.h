#pragma once

// The buffers that a test gives to kernels. A kernel's accesses are checked against them, and
// against each other: a launch orders all before it, and within a launch threads must.

#include <cstddef>

#include "kernels/device/emulate/block.h"

namespace plinth::emulate {

// Memory that kernels may use while this lives. Only const buffers refuse writes.
class GlobalRange {
 public:
  GlobalRange(const void* data, size_t bytes, bool writable);
  ~GlobalRange();
  GlobalRange(const GlobalRange&) = delete;
  GlobalRange& operator=(const GlobalRange&) = delete;

 private:
  const void* address_;
};

// Checks that an agent may access [address, address + bytes), aligned, by a pointer that was made
// from `origin`: it must lie in origin's range, and accesses of others must be ordered before.
void check_global(const void* address, const void* origin, size_t bytes, size_t alignment,
                  bool write, const Agent& agent, Location at);

// Called as a launch begins.
void forget_global_history();

}  // namespace plinth::emulate
