#pragma once

// Any number of ranks in one process, each of them a thread: collectives move real data through
// memory, and take the time that a cost model says on a clock that only they move.
//
//   run_ranks(4, [](ProcessGroup& world) { world.barrier().wait(); });
//
// It is strict where other backends may be kind: a send waits for its recv, ranks that call
// different things get an error that names both calls, and a rank that waits for one that has
// left, or past the deadline, is told which, and what that one called last. What one rank gives up
// the whole group gives up.

#include <functional>
#include <memory>
#include <mutex>

#include "distributed/process_group.h"
#include "distributed/simulated/cost_model.h"

namespace plinth::distributed {

// One rank's time, in all its groups. Starts at 0. Any thread may call it.
class VirtualClock {
 public:
  double seconds() const;
  // Computes for so long.
  void advance(double seconds);
  void advance_to(double seconds);

 private:
  mutable std::mutex mutex_;
  double seconds_ = 0;
};

struct SimulatedOptions {
  GroupOptions group = {};
  CostModel cost = {};
};

// Calls `rank` in a thread for each rank of a group and returns when all have; throws what one of
// them threw first, whose group gives up then.
void run_ranks(int size, const std::function<void(ProcessGroup&)>& rank,
               const SimulatedOptions& options = {});

// The groups of ranks 0 to size - 1, for threads of the caller's.
std::vector<std::shared_ptr<ProcessGroup>> make_simulated_groups(
    int size, const SimulatedOptions& options = {});

// The clock of a rank. A collective begins when all have called it, and each has done what it
// called before; wait() moves the clock to its end. Throws Error(Argument) for another backend.
VirtualClock& clock_of(ProcessGroup& group);

}  // namespace plinth::distributed
