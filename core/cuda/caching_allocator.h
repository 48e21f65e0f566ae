#pragma once

// The allocator of a CUDA device. cudaMalloc is slow and waits for the device, so memory is asked
// for in segments, which are kept and cut into blocks.
//
// Order          a block is given back to its stream's order of work: the stream may have it again
//                at once, though the device has not yet done what used it. Another stream's block
//                is taken only behind an event. A block that other streams have used (used_on) is
//                kept aside until their work is done.
// Choice         best fit: the smallest free block that is large enough, the lowest address among
//                equals; what is left over is split off, and joins its free neighbours again. Small
//                blocks (up to 1 MiB) have segments of their own, so that they do not pin large
//                ones.
// Graphs         a pool apart: blocks of a captured graph belong to it until it is gone, since
// every
//                replay uses them again.
// Out of memory  cached segments go back to the driver, then Error(OutOfMemory) says what is held,
//                and by which ops.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "core/allocator.h"

namespace plinth::cuda {

class CachingAllocator final : public Allocator {
 public:
  explicit CachingAllocator(Device device);
  // Tensors may outlive every static variable: the allocators of core/allocator.h are never
  // destroyed, and one of a test must hold no tensor any more.
  ~CachingAllocator() override;

  void* allocate(size_t bytes, Stream stream) override;
  void deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  void used_on(void* block, Stream stream) override;
  MemoryStats stats() const override;
  void reset_peak() override;
  void release_cached() override;
  // {"device", "segments": [{"address", "bytes", "pool", "blocks": [{"offset", "bytes", "state",
  // "holder", "stream"}]}]}; state is "in use", "free" or "held by other streams".
  std::string snapshot() const override;

  // While a pool is chosen, this thread's blocks come from it. Pool 0 is everybody's.
  void choose_pool(int pool);
  // Frees the segments of a pool whose graph is gone; its blocks must be free.
  void release_pool(int pool);

 private:
  struct Block;
  struct BySize {
    bool operator()(const Block* a, const Block* b) const;
  };
  using FreeBlocks = std::set<Block*, BySize>;
  // Where a block is looked for: small ones and large ones, by graph and stream.
  struct Place {
    int pool;
    bool small;
    void* stream;
    bool operator<(const Place& other) const {
      return std::tie(pool, small, stream) < std::tie(other.pool, other.small, other.stream);
    }
  };

  Block* find_free(size_t size, const Place& place);
  Block* take_from_another_stream(size_t size, const Place& place);
  Block* new_segment(size_t size, const Place& place);
  void split(Block* block, size_t size);
  Block* join(Block* block, Block* neighbour);
  void make_free(Block* block);
  void free_what_events_release();
  void release_segments(int pool, bool all_pools);
  void count_use(int64_t bytes);
  [[noreturn]] void out_of_memory(size_t bytes) const;

  struct Waiting;  // blocks that other streams still use

  const Device device_;
  mutable std::mutex mutex_;
  std::unordered_map<const void*, std::unique_ptr<Block>> blocks_;  // all, by address
  std::map<Place, FreeBlocks> free_;
  std::vector<Waiting> waiting_;
  MemoryStats stats_;
};

// The caching allocator behind allocator(device).
CachingAllocator& caching_allocator(Device device);

}  // namespace plinth::cuda
