#pragma once

// Vector clocks (Lamport 1978, Mattern 1989): what a thread knows of the progress of others. An
// access happens before another if the second thread's clock has seen the first's time.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace plinth::emulate {

// Times of the agents of one cluster: its threads, and whatever works asynchronously for them.
class Clock {
 public:
  uint32_t of(uint32_t agent) const { return agent < times_.size() ? times_[agent] : 0; }
  void set(uint32_t agent, uint32_t time) {
    if (times_.size() <= agent) times_.resize(agent + 1, 0);
    times_[agent] = std::max(times_[agent], time);
  }
  void tick(uint32_t agent) { set(agent, of(agent) + 1); }
  // Learns all that `other` knows.
  void join(const Clock& other) {
    if (times_.size() < other.times_.size()) times_.resize(other.times_.size(), 0);
    for (size_t i = 0; i < other.times_.size(); ++i)
      times_[i] = std::max(times_[i], other.times_[i]);
  }
  // Keeps what `other` knows too.
  void meet(const Clock& other) {
    if (times_.size() > other.times_.size()) times_.resize(other.times_.size());
    for (size_t i = 0; i < times_.size(); ++i) times_[i] = std::min(times_[i], other.times_[i]);
  }

 private:
  std::vector<uint32_t> times_;
};

// When an agent of a cluster did something.
struct Access {
  uint32_t cluster = 0;
  uint32_t agent = 0;
  uint32_t time = 0;
};

// All that a thread knows to have happened.
struct Knowledge {
  explicit Knowledge(uint32_t of_cluster = 0) : cluster(of_cluster) {}

  uint32_t cluster;
  Clock seen;  // of its own cluster
  // How much of it its agents' own fences have shown to the async proxy, in shared and global
  // memory.
  Clock async_seen, async_seen_global;
  std::map<uint32_t, Clock> others;  // of other clusters

  bool has(const Access& access) const {
    if (access.cluster == cluster) return seen.of(access.agent) >= access.time;
    const auto found = others.find(access.cluster);
    return found != others.end() && found->second.of(access.agent) >= access.time;
  }
  // From a thread of any cluster.
  void join(const Knowledge& other) {
    if (other.cluster == cluster) {
      seen.join(other.seen);
      async_seen.join(other.async_seen);
      async_seen_global.join(other.async_seen_global);
    } else {
      others[other.cluster].join(other.seen);
    }
    for (const auto& [id, clock] : other.others) {
      if (id == cluster) {
        seen.join(clock);
      } else {
        others[id].join(clock);
      }
    }
  }
};

}  // namespace plinth::emulate
