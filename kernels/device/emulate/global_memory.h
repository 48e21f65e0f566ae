#pragma once

// The buffers that a test gives to kernels. A kernel's accesses are checked against them.

#include <cstddef>
#include <span>
#include <vector>

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

// Checks that the running thread may access [address, address + bytes) by a pointer that was made
// from `origin`: it must lie in origin's range.
void check_global(const void* address, const void* origin, size_t bytes, bool write, Location at);

}  // namespace plinth::emulate
