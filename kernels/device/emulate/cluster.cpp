#include "kernels/device/emulate/cluster.h"

#include <utility>

#include "kernels/device/emulate/shared_memory.h"

namespace plinth::emulate {

Cluster::Cluster(Launch& launch, uint32_t id, Dim3 first)
    : id_(id), threads_a_block_(launch.shape().block.count()) {
  const Dim3 size = launch.shape().cluster;
  for (uint32_t z = 0; z < size.z; ++z) {
    for (uint32_t y = 0; y < size.y; ++y) {
      for (uint32_t x = 0; x < size.x; ++x) {
        const auto rank = static_cast<uint32_t>(blocks_.size());
        blocks_.push_back(std::make_unique<Block>(launch, *this, rank,
                                                  Dim3{first.x + x, first.y + y, first.z + z}));
      }
    }
  }
  next_agent_ = threads_a_block_ * size.count();
  arrivals_.resize(next_agent_);
  barrier_.expected = next_agent_;
  barrier_.gathering.cluster = barrier_.released.cluster = id;
}

Block* Cluster::owner_of(const void* address) const {
  for (const auto& block : blocks_) {
    if (block->shared().contains(address)) return block.get();
  }
  return nullptr;
}

uint32_t Cluster::new_agent(std::string name) {
  names_[next_agent_] = std::move(name);
  return next_agent_++;
}

std::string Cluster::name_of(uint32_t agent, uint32_t from) const {
  const auto found = names_.find(agent);
  if (found != names_.end()) return found->second;
  std::string name = "thread " + std::to_string(agent % threads_a_block_);
  const uint32_t rank = agent / threads_a_block_;
  if (rank != from) name += " of the cluster's block " + std::to_string(rank);
  return name;
}

void Cluster::arrive(Location at) {
  Block& block = Block::current();
  Thread& self = block.thread();
  Arrival& arrival = arrivals_[self.agent];
  if (arrival.waiting) block.fail("arrives twice at the cluster's barrier without a wait", at);
  arrival = {true, barrier_.generation};
  self.release(barrier_.gathering);
  if (++barrier_.arrived < barrier_.expected) return;
  barrier_.arrived = 0;
  ++barrier_.generation;
  barrier_.released = std::exchange(barrier_.gathering, Knowledge(id_));
}

void Cluster::wait(Location at) {
  Block& block = Block::current();
  Thread& self = block.thread();
  Arrival& arrival = arrivals_[self.agent];
  if (!arrival.waiting) block.fail("waits at the cluster's barrier without having arrived", at);
  block.wait([&] { return barrier_.generation > arrival.generation; },
             [&] { return "the barrier of the cluster (line " + std::to_string(at.line()) + ")"; });
  arrival.waiting = false;
  self.knows.join(barrier_.released);
}

}  // namespace plinth::emulate
