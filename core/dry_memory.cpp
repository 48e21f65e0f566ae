#include "core/dry_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace plinth {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kChunk = size_t{64} << 30;  // of address space, asked of the system at once

// Blocks of a page and more are whole pages, which the system can make zeros again.
size_t span_of(size_t size) {
  return size < kPage ? size : (size + kPage - 1) / kPage * kPage;
}

}  // namespace

DryMemory& dry_memory() {
  static auto* const memory = new DryMemory;
  return *memory;
}

void DryMemory::begin(MemoryListener* listener) {
  const std::lock_guard lock(mutex_);
  check(!is_dry_run(), ErrorKind::Argument, "DryRun", "another one is under way");
  listener_ = listener;
  stats_ = {};
  ++run_;
  used_ = true;
  detail::dry_run = true;
}

void DryMemory::end() {
  const std::lock_guard lock(mutex_);
  detail::dry_run = false;
  listener_ = nullptr;
}

void* DryMemory::allocate(size_t size) {
  const std::lock_guard lock(mutex_);
  void* const block = take(span_of(size));
  blocks_.emplace(block, Block{size, run_});
  ++stats_.allocations;
  stats_.allocated += static_cast<int64_t>(size);
  stats_.peak_allocated = std::max(stats_.peak_allocated, stats_.allocated);
  if (listener_) listener_->allocated(block, static_cast<int64_t>(size));
  return block;
}

bool DryMemory::take_back(void* block) noexcept {
  if (!used_) return false;
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(block);
  if (found == blocks_.end()) return false;
  const auto [size, run] = found->second;
  blocks_.erase(found);
  const size_t span = span_of(size);
  if (span < kPage) {
    std::memset(block, 0, span);
  } else {
    madvise(block, span, MADV_DONTNEED);
  }
  free_.emplace(span, block);
  if (run != run_) return true;
  stats_.allocated -= static_cast<int64_t>(size);
  if (listener_) listener_->freed(block);
  return true;
}

void DryMemory::shaped(const void* block, const Shape& shape, DType dtype) {
  const std::lock_guard lock(mutex_);
  if (listener_) listener_->shaped(block, shape, dtype);
}

MemoryStats DryMemory::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void DryMemory::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_allocated = stats_.allocated;
}

void* DryMemory::take(size_t span) {
  const auto found = free_.find(span);
  if (found != free_.end()) {
    void* const block = found->second;
    free_.erase(found);
    return block;
  }
  if (span >= kPage) {
    const auto past = reinterpret_cast<uintptr_t>(at_) % kPage;
    if (past > 0) at_ += kPage - past;
  }
  if (at_ >= end_ || static_cast<size_t>(end_ - at_) < span) reserve(span);
  void* const block = at_;
  at_ += span;
  return block;
}

void DryMemory::reserve(size_t span) {
  const size_t bytes = std::max(span, kChunk);
  void* const begin = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check(begin != MAP_FAILED, ErrorKind::OutOfMemory, "dry run",
        "the system gives no more than the ", stats_.allocated,
        " bytes of address space that tensors have; ", bytes, " more were asked for");
  madvise(begin, bytes, MADV_NOHUGEPAGE);
  at_ = static_cast<std::byte*>(begin);
  end_ = at_ + bytes;
}

// ---- core/dry_run.h ----

DryRun::DryRun(MemoryListener* listener) {
  dry_memory().begin(listener);
}

DryRun::~DryRun() {
  dry_memory().end();
}

void detail::tell_shape(const void* block, const Shape& shape, DType dtype) {
  dry_memory().shaped(block, shape, dtype);
}

}  // namespace plinth
