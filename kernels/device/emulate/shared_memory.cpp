#include "kernels/device/emulate/shared_memory.h"

#include <string>

#include "kernels/device/emulate/cluster.h"

namespace plinth::emulate {
namespace {

constexpr size_t kAlignment = 1024;

std::string range(size_t offset, size_t bytes) {
  return std::to_string(bytes) + " bytes at offset " + std::to_string(offset) + " of shared memory";
}

}  // namespace

SharedMemory::SharedMemory(size_t bytes)
    : size_(bytes),
      memory_(bytes + kAlignment, std::byte{0xff}),
      history_("shared memory", bytes, false) {
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  data_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
}

void SharedMemory::check_bounds(const void* address, size_t bytes, size_t alignment,
                                const char* verb, Location at) const {
  const size_t offset = offset_of(address);
  if (offset > size_ || bytes > size_ - offset) {
    Block::current().fail(std::string("out-of-bounds ") + verb + " of " + range(offset, bytes) +
                              ", which has " + std::to_string(size_),
                          at);
  }
  if (offset % alignment != 0) {
    Block::current().fail(std::string("misaligned ") + verb + " of " + range(offset, bytes), at);
  }
}

void* SharedMemory::at_offset(size_t offset, size_t bytes, Location at) {
  if (offset > size_ || bytes > size_ - offset) {
    Block::current().fail("an array of " + std::to_string(bytes) + " bytes at offset " +
                              std::to_string(offset) + " does not fit the launch's " +
                              std::to_string(size_) + " bytes of shared memory",
                          at);
  }
  return data_ + offset;
}

void* in_peer(void* address, uint32_t rank, Location at) {
  Block& self = Block::current();
  const auto& blocks = self.cluster().blocks();
  if (rank >= blocks.size())
    self.fail("block " + std::to_string(rank) + " of a cluster of " + std::to_string(blocks.size()),
              at);
  return blocks[rank]->shared().data() + self.shared().offset_of(address);
}

SharedMemory& shared_memory_of(const void* address, Location at) {
  Block& self = Block::current();
  if (self.shared().contains(address)) return self.shared();
  Block* const owner = self.cluster().owner_of(address);
  if (!owner) return self.shared();
  if (owner->done()) {
    self.fail("access to the shared memory of the cluster's block " +
                  std::to_string(owner->rank()) + ", which has ended",
              at);
  }
  return owner->shared();
}

void check_shared_read(const void* address, size_t bytes, const Agent& agent, Location at) {
  SharedMemory& memory = shared_memory_of(address, at);
  memory.check_bounds(address, bytes, bytes, "read", at);
  memory.history().read(memory.offset_of(address), bytes, agent, at);
}

void check_shared_write(const void* address, size_t bytes, const Agent& agent, Location at) {
  SharedMemory& memory = shared_memory_of(address, at);
  memory.check_bounds(address, bytes, bytes, "write", at);
  memory.history().write(memory.offset_of(address), bytes, agent, at);
}

}  // namespace plinth::emulate
