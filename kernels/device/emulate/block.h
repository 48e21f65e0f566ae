#pragma once

// One block of threads on the CPU: its barriers and its shared memory.

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device/emulate/clock.h"
#include "kernels/device/emulate/error.h"
#include "kernels/device/emulate/launch.h"
#include "kernels/device/emulate/meeting.h"
#include "kernels/device/emulate/thread.h"

namespace plinth::emulate {

class Cluster;
class SharedMemory;

// bar.sync and bar.arrive: threads meet `expected` at a time.
struct Barrier {
  uint32_t expected = 0;
  uint32_t arrived = 0;
  uint64_t generation = 0;
  Knowledge gathering, released;
};

// Four warps that make wgmma's products together.
struct Warpgroup {
  Meetings meetings{"warpgroup", 128};
  uint32_t agent = 0;      // under whose name its products read
  uint32_t products = 0;   // so far
  uint32_t registers = 0;  // a thread, once it has set them
};

class Block {
 public:
  Block(Launch& launch, Cluster& cluster, uint32_t rank, Dim3 index);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // The block and thread that run now.
  static Block& current() { return *Launch::current().running().block; }
  Thread& thread() { return launch_.running(); }

  Launch& launch() { return launch_; }
  Cluster& cluster() { return cluster_; }
  uint32_t rank() const { return rank_; }  // in the cluster
  Dim3 grid() const { return launch_.shape().grid; }
  Dim3 index() const { return index_; }
  Dim3 threads() const { return launch_.shape().block; }
  const std::vector<std::unique_ptr<Thread>>& all_threads() const { return all_; }
  SharedMemory& shared() { return *shared_; }
  // Of the running thread, which must be in one.
  Warpgroup& warpgroup() { return warpgroups_[thread().id / 128]; }
  const std::vector<Warpgroup>& all_warpgroups() const { return warpgroups_; }
  bool done() const;

  // Called by each thread as it ends.
  void end_thread();

  // bar.sync / bar.arrive of barrier `id` with `count` threads.
  void sync(uint32_t id, uint32_t count, Location at);
  void arrive(uint32_t id, uint32_t count, Location at);

  // All lanes of `mask` bring data and leave when the last to come has combined it. With `order`,
  // what they wrote before is seen by the others after (__syncwarp); shuffles promise no such
  // thing.
  void meet_warp(uint32_t mask, void* data, const Combine& combine, bool order, Location at);
  // The same for the 128 threads of a warpgroup, with their number in it.
  void meet_warpgroup(void* data, const Combine& combine, Location at);

  // Lets other threads run until ready() holds; what() says what is waited for.
  template <class Ready, class What>
  void wait(Ready ready, What what) {
    if (ready()) return;
    const Wait wait{std::ref(ready), std::ref(what)};
    launch_.suspend(wait);
  }

  // An agent's name in messages.
  std::string name_of(const Access& access) const;
  [[noreturn]] void fail(const std::string& what, Location at) const;

 private:
  Barrier& checked_barrier(uint32_t id, uint32_t count, Location at);
  void arrive_at(Barrier& barrier);

  Launch& launch_;
  Cluster& cluster_;
  uint32_t rank_;
  Dim3 index_;
  std::vector<std::unique_ptr<Thread>> all_;
  std::vector<Meetings> warps_;
  std::vector<Warpgroup> warpgroups_;
  std::array<Barrier, 16> barriers_;
  std::unique_ptr<SharedMemory> shared_;
};

}  // namespace plinth::emulate
