#pragma once

#include <cstdint>
#include <map>

#include "kernels/device/emulate/clock.h"
#include "kernels/device/emulate/error.h"

namespace plinth::emulate {

struct Thread;

// An mbarrier: a phase ends when all arrivals and all announced bytes have come. Those who wait for
// it then know what those who arrived knew, and that the bytes are there.
class MbarrierState {
 public:
  MbarrierState(uint32_t count, Access made, uint32_t copies);

  // Whether the phase of this parity is over: it is the one before the current.
  bool over(uint32_t parity) const { return (phase_ & 1) != (parity & 1); }

  // By the running thread; `from_peer` if of another block.
  void arrive(uint32_t count, bool from_peer, Location at);
  void expect(uint32_t bytes, Location at);
  void complete(uint32_t bytes, Location at);
  // Checks that all arrivals of peers are known: the memory is about to go.
  void check_end(const Knowledge& known, Location at) const;
  // The running thread has waited for the phase that is over. Only a wait of the cluster's scope
  // learns from arrivals of peers.
  void end_wait(bool of_cluster);

  const Access& made() const { return made_; }
  // The name under which copies that end in the current phase write.
  Access copy() const { return {made_.cluster, copies_, static_cast<uint32_t>(phase_) + 1}; }

  bool visible_to_async = false;  // a fence followed its making

 private:
  // A thread saw a phase over. So have those that know of a later product of its warpgroup, which
  // needed the thread.
  struct EndedWait {
    const Thread* thread;
    Access when;
    uint32_t products;  // of its warpgroup before
  };

  void end_phase_if_done(Location at);
  void check_waits(Location at) const;
  bool arrivals_know(const EndedWait& wait) const;

  uint32_t count_, pending_;
  int64_t bytes_ = 0;  // announced and still to come
  uint64_t phase_ = 0;
  Access made_;
  uint32_t copies_;  // the agent of copies that end here
  Knowledge gathering_, released_;
  Knowledge peers_gathering_, peers_released_;
  std::map<uint32_t, Access> last_of_peers_;  // arrivals, by agent
  std::map<uint32_t, EndedWait> waits_;       // for the phase before the current, by agent
};

// The mbarrier at an address, that the running thread may use.
MbarrierState& mbarrier_at(const void* address, Location at);
void make_mbarrier(const void* address, uint32_t count, Location at);
void end_mbarrier(const void* address, Location at);
// The running thread's mbarriers become known to asynchronous copies and other blocks.
void show_mbarriers();
void wait_for_mbarrier(const void* address, uint32_t parity, bool of_cluster, Location at);
bool try_mbarrier(const void* address, uint32_t parity, Location at);

}  // namespace plinth::emulate
