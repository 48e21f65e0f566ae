#pragma once

// Vector clocks (Lamport 1978, Mattern 1989): what each thread of a block knows of the others'
// progress. An access happens before another if the second thread's clock has seen the first's
// time.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace plinth::emulate {

class Clock {
 public:
  explicit Clock(size_t threads = 0) : times_(threads, 0) {}

  uint32_t of(uint32_t thread) const { return times_[thread]; }
  void tick(uint32_t thread) { ++times_[thread]; }
  // Learns all that `other` knows.
  void join(const Clock& other) {
    if (times_.size() < other.times_.size()) times_.resize(other.times_.size(), 0);
    for (size_t i = 0; i < other.times_.size(); ++i)
      times_[i] = std::max(times_[i], other.times_[i]);
  }

 private:
  std::vector<uint32_t> times_;
};

}  // namespace plinth::emulate
