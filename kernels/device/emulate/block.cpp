#include "kernels/device/emulate/block.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "kernels/device/emulate/async_copy.h"
#include "kernels/device/emulate/cluster.h"
#include "kernels/device/emulate/shared_memory.h"

namespace plinth::emulate {

Block::Block(Launch& launch, Cluster& cluster, uint32_t rank, Dim3 index)
    : launch_(launch),
      cluster_(cluster),
      rank_(rank),
      index_(index),
      warps_((threads().count() + 31) / 32, Meetings("warp", 32)),
      warpgroups_(threads().count() / 128),
      shared_(std::make_unique<SharedMemory>(launch.shape().shared_bytes)) {
  const uint32_t count = threads().count();
  for (uint32_t id = 0; id < count; ++id) {
    all_.push_back(std::make_unique<Thread>());
    Thread& thread = *all_.back();
    thread.id = id;
    thread.agent = rank * count + id;
    thread.block = this;
    thread.knows.cluster = thread.fenced.cluster = thread.found.cluster = cluster.id();
    thread.knows.seen.tick(thread.agent);
  }
  for (Barrier& barrier : barriers_)
    barrier.gathering.cluster = barrier.released.cluster = cluster.id();
}

Block::~Block() = default;

bool Block::done() const {
  return std::ranges::all_of(all_, [](const auto& thread) { return thread->done; });
}

void Block::end_thread() {
  Thread& self = thread();
  end_asynchronous_work(self);
  const auto others = std::ranges::count_if(all_, [](const auto& other) { return !other->done; });
  if (others > 1 || launch_.shape().cluster.count() == 1) return;
  // The last thread: other blocks' accesses to this block's memory must be known to be over.
  Knowledge known(cluster_.id());
  for (const auto& other : all_) known.join(other->knows);
  shared_->history().check_end(known, Location::current());
  for (const auto& [offset, barrier] : shared_->mbarriers())
    barrier.check_end(known, Location::current());
}

std::string Block::name_of(const Access& access) const {
  if (access.cluster != cluster_.id())
    return "thread " + std::to_string(access.agent % threads().count()) + " of another block";
  return cluster_.name_of(access.agent, rank_);
}

void Block::fail(const std::string& what, Location at) const {
  launch_.fail(what, at);
}

// ---- barriers ----

Barrier& Block::checked_barrier(uint32_t id, uint32_t count, Location at) {
  if (id >= barriers_.size())
    fail("barrier " + std::to_string(id) + " does not exist: there are 16", at);
  if (count == 0 || count % 32 != 0 || count > (threads().count() + 31) / 32 * 32) {
    fail("barrier " + std::to_string(id) + " for " + std::to_string(count) +
             " threads: takes a multiple of 32, at most the block's",
         at);
  }
  Barrier& barrier = barriers_[id];
  if (barrier.arrived > 0 && barrier.expected != count) {
    fail("divergent barrier " + std::to_string(id) + ": this thread expects " +
             std::to_string(count) + " threads, an earlier one " + std::to_string(barrier.expected),
         at);
  }
  barrier.expected = count;
  return barrier;
}

void Block::arrive_at(Barrier& barrier) {
  thread().release(barrier.gathering);
  // A block whose size is no multiple of 32 counts its last warp as whole.
  const uint32_t count = threads().count();
  const uint32_t missing = (32 - count % 32) % 32;
  const uint32_t needed = barrier.expected > count ? barrier.expected - missing : barrier.expected;
  if (++barrier.arrived < needed) return;
  barrier.arrived = 0;
  ++barrier.generation;
  barrier.released = barrier.gathering;
  barrier.gathering = Knowledge(cluster_.id());
}

void Block::sync(uint32_t id, uint32_t count, Location at) {
  Barrier& barrier = checked_barrier(id, count, at);
  const uint64_t generation = barrier.generation;
  arrive_at(barrier);
  wait([&] { return barrier.generation > generation; },
       [&] {
         std::ostringstream what;
         what << "barrier " << id << " of " << count << " threads (line " << at.line() << ")";
         return what.str();
       });
  thread().knows.join(barrier.released);
}

void Block::arrive(uint32_t id, uint32_t count, Location at) {
  arrive_at(checked_barrier(id, count, at));
}

// ---- warps and warpgroups ----

void Block::meet_warp(uint32_t mask, void* data, const Combine& combine, bool order, Location at) {
  const uint32_t id = thread().id;
  warps_[id / 32].meet(*this, id % 32, mask, data, combine, order, at);
}

void Block::meet_warpgroup(void* data, const Combine& combine, Location at) {
  const uint32_t id = thread().id;
  if (id / 128 >= warpgroups_.size())
    fail("operation of a warpgroup by a warp that is in none: the block has no 128 such threads",
         at);
  warpgroups_[id / 128].meetings.meet(*this, id % 128, 0xffffffffu, data, combine, false, at);
}

}  // namespace plinth::emulate
