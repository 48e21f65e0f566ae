#include "kernels/device/emulate/mbarrier_state.h"

#include <string>

#include "kernels/device/emulate/cluster.h"
#include "kernels/device/emulate/shared_memory.h"

namespace plinth::emulate {
namespace {

constexpr int64_t kMostCount = (1 << 20) - 1;  // of arrivals, and of bytes

size_t checked_offset(const SharedMemory& memory, const void* address, Location at) {
  memory.check_bounds(address, 8, 8, "use as an mbarrier", at);
  return memory.offset_of(address);
}

const Warpgroup* warpgroup_of(const Thread& thread) {
  const std::vector<Warpgroup>& all = thread.block->all_warpgroups();
  return thread.id / 128 < all.size() ? &all[thread.id / 128] : nullptr;
}

}  // namespace

MbarrierState::MbarrierState(uint32_t count, Access made, uint32_t copies)
    : count_(count),
      pending_(count),
      made_(made),
      copies_(copies),
      gathering_(made.cluster),
      released_(made.cluster),
      peers_gathering_(made.cluster),
      peers_released_(made.cluster) {}

void MbarrierState::arrive(uint32_t count, bool from_peer, Location at) {
  Block& block = Block::current();
  if (count == 0 || count > pending_) {
    block.fail(std::to_string(count) + " arrive at an mbarrier of " + std::to_string(count_) +
                   " where " + std::to_string(pending_) + " are still to come in this phase",
               at);
  }
  pending_ -= count;
  if (from_peer) last_of_peers_[block.thread().agent] = block.thread().generic().as;
  block.thread().release(from_peer ? peers_gathering_ : gathering_);
  if (pending_ == 0 && bytes_ < 0)
    block.fail("more bytes came to an mbarrier than were expected", at);
  end_phase_if_done(at);
}

void MbarrierState::expect(uint32_t bytes, Location at) {
  bytes_ += bytes;
  if (bytes_ > kMostCount)
    Block::current().fail("an mbarrier expects more bytes than it can count", at);
}

void MbarrierState::complete(uint32_t bytes, Location at) {
  bytes_ -= bytes;
  if (pending_ == 0 && bytes_ < 0)
    Block::current().fail("more bytes came to an mbarrier than were expected", at);
  end_phase_if_done(at);
}

// Waits tell phases apart by their parity alone: were one to end before a thread has seen that the
// one before it is over, the thread would wait for one more, perhaps for ever.
void MbarrierState::check_waits(Location at) const {
  for (const auto& [agent, wait] : waits_) {
    if (arrivals_know(wait)) continue;
    Block::current().fail("race: a phase of an mbarrier may end before " +
                              Block::current().name_of(wait.when) +
                              " sees that the phase before it, which it waits for, is over",
                          at);
  }
}

bool MbarrierState::arrivals_know(const EndedWait& wait) const {
  const auto know = [&](const Access& access) {
    return gathering_.has(access) || peers_gathering_.has(access);
  };
  if (know(wait.when)) return true;
  const Warpgroup* const group = warpgroup_of(*wait.thread);
  return group && group->agent > 0 && know({wait.when.cluster, group->agent, wait.products + 1});
}

void MbarrierState::end_phase_if_done(Location at) {
  if (pending_ > 0 || bytes_ != 0) return;
  check_waits(at);
  waits_.clear();
  gathering_.seen.set(copies_, copy().time);
  released_.join(gathering_);
  peers_released_.join(peers_gathering_);
  gathering_ = Knowledge(made_.cluster);
  peers_gathering_ = Knowledge(made_.cluster);
  pending_ = count_;
  ++phase_;
}

void MbarrierState::check_end(const Knowledge& known, Location at) const {
  for (const auto& [agent, arrival] : last_of_peers_) {
    if (!known.has(arrival)) {
      Block::current().fail("the block ends while others may arrive at its mbarriers, last " +
                                Block::current().name_of(arrival),
                            at);
    }
  }
}

void MbarrierState::end_wait(bool of_cluster) {
  Thread& self = Block::current().thread();
  self.knows.join(released_);
  if (of_cluster) self.knows.join(peers_released_);
  const Warpgroup* const group = warpgroup_of(self);
  waits_[self.agent] = {&self, self.generic().as, group ? group->products : 0};
}

MbarrierState& mbarrier_at(const void* address, Location at) {
  Block& block = Block::current();
  SharedMemory& memory = shared_memory_of(address, at);
  const size_t offset = checked_offset(memory, address, at);
  const auto found = memory.mbarriers().find(offset);
  if (found == memory.mbarriers().end())
    block.fail("no mbarrier was made at offset " + std::to_string(offset) + " of shared memory",
               at);
  if (!block.thread().knows.has(found->second.made())) {
    block.fail("race: use of the mbarrier at offset " + std::to_string(offset) + ", made by " +
                   block.name_of(found->second.made()) + " with no barrier in between",
               at);
  }
  if (&memory != &block.shared() && !found->second.visible_to_async)
    block.fail("use of another block's mbarrier, whose making no mbarrier_fence_init() followed",
               at);
  return found->second;
}

void make_mbarrier(const void* address, uint32_t count, Location at) {
  Block& block = Block::current();
  SharedMemory& memory = block.shared();
  const size_t offset = checked_offset(memory, address, at);
  if (count == 0 || count > kMostCount)
    block.fail("an mbarrier of " + std::to_string(count) + " arrivals", at);
  if (memory.mbarriers().contains(offset))
    block.fail("an mbarrier is made where there is one already", at);
  const Agent self = block.thread().generic();
  memory.history().write(offset, 8, self, at);
  memory.history().set_barrier(offset, 8, true);
  const uint32_t copies = block.cluster().new_agent("an asynchronous copy");
  memory.mbarriers().emplace(offset, MbarrierState(count, self.as, copies));
}

void end_mbarrier(const void* address, Location at) {
  mbarrier_at(address, at);
  SharedMemory& memory = Block::current().shared();
  memory.mbarriers().erase(memory.offset_of(address));
  memory.history().set_barrier(memory.offset_of(address), 8, false);
}

void show_mbarriers() {
  Block& block = Block::current();
  for (auto& [offset, state] : block.shared().mbarriers()) {
    if (state.made().agent == block.thread().agent) state.visible_to_async = true;
  }
}

void wait_for_mbarrier(const void* address, uint32_t parity, bool of_cluster, Location at) {
  Block& block = Block::current();
  MbarrierState& state = mbarrier_at(address, at);
  block.wait([&] { return state.over(parity); },
             [&] {
               return "phase " + std::to_string(parity & 1) + " of the mbarrier at offset " +
                      std::to_string(block.shared().offset_of(address)) + " (line " +
                      std::to_string(at.line()) + ")";
             });
  state.end_wait(of_cluster);
}

bool try_mbarrier(const void* address, uint32_t parity, Location at) {
  Block& block = Block::current();
  MbarrierState& state = mbarrier_at(address, at);
  if (!state.over(parity)) block.launch().spin();
  if (!state.over(parity)) return false;
  state.end_wait(false);
  return true;
}

}  // namespace plinth::emulate
