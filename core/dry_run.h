#pragma once

// A dry run: everything that ops, layers and a trainer do on the CPU but the arithmetic. Tensors
// are made, recorded and freed as ever, and the allocator counts them as ever; their memory is
// address space that nobody writes to, and kernels are left out. So the memory that a step takes
// can be asked of a model that is far larger than this machine.
//
//   {
//     const DryRun dry(&listener);
//     ...                                                   build, train a step
//     allocator(Device{}).stats().peak_allocated            what it would have taken
//   }
//
// What a tensor holds is defined: what the host wrote (from_values(), scalar(), data of a loader),
// a copy of a single element (full({}, 1), item()), and zeros everywhere else. So losses and norms
// are 0, indices are class 0, and a step is accepted. Where sizes follow from values, the op says
// what a dry run takes for them: a mixture of experts gives each expert as many tokens as the next.

#include <atomic>
#include <cstdint>

#include "core/shape.h"
#include "kernels/dtype.h"

namespace plinth {

// Hears of each tensor's memory in a dry run.
struct MemoryListener {
  virtual ~MemoryListener() = default;
  // `bytes` as the allocator counts them.
  virtual void allocated(const void* block, int64_t bytes) = 0;
  // The tensor for which the block was allocated just before; views tell nothing.
  virtual void shaped(const void* block, const Shape& shape, DType dtype) = 0;
  virtual void freed(const void* block) noexcept = 0;
};

namespace detail {
inline std::atomic<bool> dry_run = false;
void tell_shape(const void* block, const Shape& shape, DType dtype);
}  // namespace detail

// Whether one is under way.
inline bool is_dry_run() {
  return detail::dry_run.load(std::memory_order_relaxed);
}

// All threads of the process run dry while it lives, and the CPU allocator's statistics are the dry
// run's own, from zero. One at a time, else Error(Argument); not for use while other threads run
// ops. Tensors may outlive it, and those made before may be freed in it.
class DryRun {
 public:
  explicit DryRun(MemoryListener* listener = nullptr);
  ~DryRun();
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;
};

}  // namespace plinth
