#pragma once

// Collective operations of a warp or a warpgroup: each thread brings data; the last to come
// combines it for all of them, while it still lies on their stacks.

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/device/emulate/clock.h"
#include "kernels/device/emulate/error.h"

namespace plinth::emulate {

class Block;

// What each thread brought, by its number in the warp or warpgroup; null where it takes no part.
using Combine = std::function<void(std::span<void* const>)>;

class Meetings {
 public:
  // `size` threads, named `what` in messages.
  Meetings(const char* what, uint32_t size) : what_(what), size_(size) {}

  // `mask` has a bit for each group of size / 32 threads.
  void meet(Block& block, uint32_t self, uint32_t mask, void* data, const Combine& combine,
            bool order, Location at);

 private:
  struct Meeting {
    std::array<void*, 128> data{};
    uint32_t mask = 0;
    uint32_t arrived = 0;
    uint32_t line = 0;
    bool over = false;
    Knowledge gathering;
  };
  std::shared_ptr<Meeting> open(uint32_t mask, Location at);
  std::shared_ptr<Meeting> join(const Block& block, uint32_t self, uint32_t mask, Location at);

  const char* what_;
  uint32_t size_;
  std::vector<std::shared_ptr<Meeting>> open_;  // of disjoint masks
  std::vector<std::shared_ptr<Meeting>> all_;   // those that no one holds are used again
};

}  // namespace plinth::emulate
