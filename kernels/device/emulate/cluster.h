#pragma once

// Blocks that run together and reach each other's shared memory. Without clusters, a block is one.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/emulate/block.h"

namespace plinth::emulate {

class Cluster {
 public:
  // Blocks `first` to `first` + the launch's cluster, in the grid's coordinates.
  Cluster(Launch& launch, uint32_t id, Dim3 first);

  uint32_t id() const { return id_; }
  const std::vector<std::unique_ptr<Block>>& blocks() const { return blocks_; }
  // The block whose shared memory holds `address`; null if none does.
  Block* owner_of(const void* address) const;

  // A clock for something that works asynchronously, with its name in messages.
  uint32_t new_agent(std::string name);
  // The name of an agent, as the block of rank `from` sees it.
  std::string name_of(uint32_t agent, uint32_t from) const;

  // barrier.cluster: the running thread arrives; then it may wait.
  void arrive(Location at);
  void wait(Location at);

 private:
  struct Arrival {
    bool waiting = false;  // arrived, and has not waited since
    uint64_t generation = 0;
  };
  uint32_t id_;
  uint32_t threads_a_block_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::map<uint32_t, std::string> names_;
  uint32_t next_agent_;
  Barrier barrier_;
  std::vector<Arrival> arrivals_;  // by agent
};

}  // namespace plinth::emulate
