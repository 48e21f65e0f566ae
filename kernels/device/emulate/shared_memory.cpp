#include "kernels/device/emulate/shared_memory.h"

#include <algorithm>
#include <string>

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
      cells_((bytes + kCellBytes - 1) / kCellBytes) {
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  data_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
}

void SharedMemory::check_bounds(const void* address, size_t bytes, const char* verb,
                                Location at) const {
  const size_t offset = offset_of(address);
  if (offset > size_ || bytes > size_ - offset) {
    Block::current().fail(std::string("out-of-bounds ") + verb + " of " + range(offset, bytes) +
                              ", which has " + std::to_string(size_),
                          at);
  }
  if (bytes > 1 && offset % bytes != 0) {
    Block::current().fail(std::string("misaligned ") + verb + " of " + range(offset, bytes), at);
  }
}

template <class F>
void SharedMemory::for_cells(const void* address, size_t bytes, F f) {
  const size_t offset = offset_of(address);
  for (size_t c = offset / kCellBytes; c <= (offset + bytes - 1) / kCellBytes; ++c) f(cells_[c]);
}

void SharedMemory::check_read(const void* address, size_t bytes, Location at) {
  check_bounds(address, bytes, "read", at);
  Block& block = Block::current();
  Thread& self = block.thread();
  const size_t offset = offset_of(address);
  for_cells(address, bytes, [&](Cell& cell) {
    if (cell.in_flight)
      block.fail("read of " + range(offset, bytes) +
                     " while an asynchronous copy into it has not been waited for",
                 at);
    if (!cell.written)
      block.fail("read of " + range(offset, bytes) + ", which nobody has written", at);
    if (cell.writer != self.id && self.clock.of(cell.writer) < cell.write_time) {
      block.fail("race: read of " + range(offset, bytes) + ", written by thread " +
                     std::to_string(cell.writer) + " with no barrier in between",
                 at);
    }
    const uint32_t now = self.clock.of(self.id);
    const auto mine =
        std::ranges::find(cell.readers, self.id, &std::pair<uint32_t, uint32_t>::first);
    if (mine != cell.readers.end()) {
      mine->second = now;
    } else {
      cell.readers.emplace_back(self.id, now);
    }
  });
}

void SharedMemory::check_order_of_write(Cell& cell, size_t offset, Location at) const {
  Block& block = Block::current();
  Thread& self = block.thread();
  const std::string where = "offset " + std::to_string(offset) + " of shared memory";
  if (cell.in_flight)
    block.fail("write to " + where + " while an asynchronous copy into it has not been waited for",
               at);
  if (cell.written && cell.writer != self.id && self.clock.of(cell.writer) < cell.write_time) {
    block.fail("race: write to " + where + ", also written by thread " +
                   std::to_string(cell.writer) + " with no barrier in between",
               at);
  }
  for (const auto& [reader, time] : cell.readers) {
    if (reader != self.id && self.clock.of(reader) < time) {
      block.fail("race: write to " + where + ", which thread " + std::to_string(reader) +
                     " read with no barrier in between",
                 at);
    }
  }
}

void SharedMemory::check_write(const void* address, size_t bytes, Location at) {
  check_bounds(address, bytes, "write", at);
  const Thread& self = Block::current().thread();
  for_cells(address, bytes, [&](Cell& cell) {
    check_order_of_write(cell, offset_of(address), at);
    cell.readers.clear();
    cell.written = true;
    cell.writer = self.id;
    cell.write_time = self.clock.of(self.id);
  });
}

void SharedMemory::begin_async_write(const void* address, size_t bytes, Location at) {
  check_write(address, bytes, at);
  for_cells(address, bytes, [](Cell& cell) { cell.in_flight = true; });
}

void SharedMemory::finish_async_write(const void* address, size_t bytes) {
  const Thread& self = Block::current().thread();
  for_cells(address, bytes, [&](Cell& cell) {
    cell.in_flight = false;
    cell.writer = self.id;
    cell.write_time = self.clock.of(self.id);
  });
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

}  // namespace plinth::emulate
