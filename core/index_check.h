#pragma once

// What an index tensor must satisfy, and the error of one that does not. The CPU looks at once. A
// GPU looks in the order of its work, so that nobody waits for the answer: a kernel leaves the
// first bad index of a device in host memory (one slot a device, the first one wins), and its error
// is thrown where the host next waits for that device: synchronize(), item(), a copy to the CPU.
// Until then the kernels that use the index read zeros or the nearest row, and write nothing.

#include <cstdint>
#include <optional>
#include <string>

#include "core/device.h"
#include "core/error.h"
#include "kernels/index/index_fault.h"

namespace plinth {

struct IndexCheck {
  std::string op, argument;
  int64_t limit = 0;                    // indices lie in [0, limit)
  std::optional<int64_t> ignored = {};  // or are this one: the targets of a loss
  bool is_length = false;               // what is checked are lengths, and said to be so

  Error error(int64_t element, int64_t value) const;
  bool operator<(const IndexCheck& other) const;
};

// What kernels of a GPU take for a check: its number, and the device's slot.
struct DeferredCheck {
  uint32_t number = 0;
  kernels::IndexFault* slot = nullptr;
};
DeferredCheck deferred(const IndexCheck& check, Device device);

// Throws the error of the index that a kernel of the device found, if one did, and forgets it. For
// whoever has waited for the device.
void raise_index_fault(Device device);

}  // namespace plinth
