#include "kernels/device/emulate/global_memory.h"

#include <map>
#include <string>

#include "kernels/device/emulate/library/memory.h"

namespace plinth::emulate {
namespace {

struct Range {
  size_t bytes;
  bool writable;
  History history;
  bool touched = false;
};

// By first address.
std::map<uintptr_t, Range>& ranges() {
  static std::map<uintptr_t, Range> all;
  return all;
}

}  // namespace

GlobalRange::GlobalRange(const void* data, size_t bytes, bool writable) {
  ranges().insert_or_assign(reinterpret_cast<uintptr_t>(data),
                            Range{bytes, writable, History("global memory", bytes, true)});
  address_ = data;
}

GlobalRange::~GlobalRange() {
  ranges().erase(reinterpret_cast<uintptr_t>(address_));
}

void check_global(const void* address, const void* origin, size_t bytes, size_t alignment,
                  bool write, const Agent& agent, Location at) {
  const char* const verb = write ? "write" : "read";
  const std::string what = std::string(verb) + " of " + std::to_string(bytes) + " bytes";
  const auto first = reinterpret_cast<uintptr_t>(address);
  Block& block = Block::current();
  if (first % alignment != 0) block.fail("misaligned " + what + " of global memory", at);
  auto found = ranges().upper_bound(reinterpret_cast<uintptr_t>(origin));
  if (found == ranges().begin()) block.fail("out-of-bounds " + what + " of global memory", at);
  --found;
  const size_t offset = first - found->first;
  if (offset > found->second.bytes || bytes > found->second.bytes - offset) {
    block.fail("out-of-bounds " + what + " at offset " + std::to_string(offset) +
                   " of a buffer of " + std::to_string(found->second.bytes),
               at);
  }
  if (write && !found->second.writable) block.fail("write to a constant buffer", at);
  if (!found->second.writable) return;
  found->second.touched = true;
  if (write) {
    found->second.history.write(offset, bytes, agent, at);
  } else {
    found->second.history.read(offset, bytes, agent, at);
  }
}

void check_library_access(const void* address, size_t bytes, bool write, const char* what) {
  if (bytes == 0) return;
  const auto fail = [&](const std::string& why) { throw KernelError(what + (": " + why)); };
  const auto first = reinterpret_cast<uintptr_t>(address);
  auto found = ranges().upper_bound(first);
  if (found == ranges().begin()) fail("is not in device memory");
  --found;
  const size_t offset = first - found->first;
  if (offset >= found->second.bytes) fail("is not in device memory");
  if (bytes > found->second.bytes - offset)
    fail("is " + std::to_string(found->second.bytes - offset) + " bytes long, but " +
         std::to_string(bytes) + " are accessed");
  if (write && !found->second.writable) fail("is a constant buffer");
}

void forget_global_history() {
  for (auto& [address, range] : ranges()) {
    if (range.touched) range.history.clear();
    range.touched = false;
  }
}

}  // namespace plinth::emulate
