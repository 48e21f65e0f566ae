#pragma once

// Memory of tensors: one allocator a device, which keeps freed blocks for the next tensor of about
// their size, so that a training step allocates nothing after its first round.

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/device.h"

namespace plinth {

// In bytes of blocks: a tensor's bytes rounded up to a multiple of 512, from 1 MiB on of 64 KiB on
// the CPU.
struct MemoryStats {
  int64_t allocated = 0;       // bytes in tensors now
  int64_t peak_allocated = 0;  // the most bytes in tensors since reset_peak()
  int64_t reserved = 0;        // bytes held from the system, in tensors or cached
  int64_t peak_reserved = 0;
  int64_t system_allocations = 0;  // blocks asked of the system since the start
  int64_t allocations = 0;         // blocks given to tensors since the start
};

class Allocator {
 public:
  virtual ~Allocator() = default;

  // At least `bytes` bytes, aligned to 64, for use on `stream`. Throws Error(OutOfMemory) that says
  // how much was asked for and how much is in use.
  virtual void* allocate(size_t bytes, Stream stream) = 0;
  // Takes back a block of allocate(bytes, ...); never throws.
  virtual void deallocate(void* block, size_t bytes, Stream stream) noexcept = 0;

  // Says that work of `stream` uses a block that was allocated for another stream: it is not given
  // away before that work is done.
  virtual void used_on(void* block, Stream stream) = 0;

  // Every segment and block as JSON, for a reader of who holds what. Throws Error(Device) where the
  // allocator keeps no such list.
  virtual std::string snapshot() const = 0;

  virtual MemoryStats stats() const = 0;
  virtual void reset_peak() = 0;
  // Returns every cached block to the system.
  virtual void release_cached() = 0;
};

// The allocator of a device; in a dry run (core/dry_run.h) the CPU's gives address space, and
// counts it alike. Throws Error(Device) where this build or machine has no such device.
Allocator& allocator(Device device);

}  // namespace plinth
