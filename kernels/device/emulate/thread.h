#pragma once

#include <boost/context/fiber.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "kernels/device/emulate/clock.h"
#include "kernels/device/emulate/history.h"

namespace plinth::emulate {

class Block;

// An asynchronous copy on its way: what it will do once the language guarantees it to be done.
using Completion = std::function<void()>;

// A bulk copy from shared to global memory: reading the one, then writing the other.
struct BulkStore {
  Completion read, write;
};
// Bulk copies that were committed together.
struct BulkGroup {
  uint32_t number;
  bool read = false;
  std::vector<BulkStore> stores;
};

// What a thread that cannot go on waits for.
struct Wait {
  std::function<bool()> ready;
  std::function<std::string()> what;
};

struct Thread {
  uint32_t id = 0;     // in its block
  uint32_t agent = 0;  // in the clocks of its cluster
  Block* block = nullptr;
  boost::context::fiber fiber;
  bool done = false;
  const Wait* wait = nullptr;  // null while it can run
  bool spins = false;          // it ran last only to find a flag unchanged

  Knowledge knows;
  Knowledge fenced;  // what it knew at its last memory fence: what its relaxed stores publish
  Knowledge found;   // what its relaxed loads found published: known after the next fence

  std::vector<Completion> open_group;          // cp.async issued, not committed
  std::deque<std::vector<Completion>> groups;  // committed, oldest first

  // Bulk copies to global memory, and under which names they read and write: made at the first.
  std::vector<BulkStore> open_stores;
  std::deque<BulkGroup> bulk_groups;  // committed, oldest first
  uint32_t bulk_number = 1;           // of the open group
  uint32_t bulk_reader = 0, bulk_writer = 0;

  // wgmma, by the numbers of their warpgroup: the last issued and not committed, the last of each
  // committed group, oldest first, and the last that was waited for.
  uint32_t open_product = 0;
  std::deque<uint32_t> product_groups;
  uint32_t products_done = 0;

  // An ordinary access of this thread, now.
  Agent generic() const { return {&knows, {knows.cluster, agent, knows.seen.of(agent)}}; }
  Agent atomic() const {
    return {&knows, {knows.cluster, agent, knows.seen.of(agent)}, Proxy::Generic, true};
  }
  // Lets `to` know all that this thread knows; what it does later is not among it.
  void release(Knowledge& to) {
    to.join(knows);
    knows.seen.tick(agent);
  }
};

}  // namespace plinth::emulate
