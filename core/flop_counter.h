#pragma once

// Counting the floating-point operations of matrix products, convolutions and attention as they
// run. A product of [m, k] and [k, n] counts 2 m n k, a convolution 2 for each pair of an output's
// element and a weight that it is summed over (padding included), of attention each product of
// scores and values the pairs that the mask leaves; elementwise work is not counted, as is usual.

#include <cstdint>

namespace plinth {

// While one lives, counts what this thread's ops do, in forward and in backward. Counters nest: an
// inner one's operations are the outer one's too.
class FlopCounter {
 public:
  FlopCounter() : outer_(active_) { active_ = this; }
  ~FlopCounter() {
    active_ = outer_;
    if (outer_) outer_->count_ += count_;
  }
  FlopCounter(const FlopCounter&) = delete;
  FlopCounter& operator=(const FlopCounter&) = delete;

  // Operations since construction, those of inner counters that have ended included.
  int64_t count() const { return count_; }

  // For ops: whether anyone counts, and adding to the innermost counter, if there is one.
  static bool counting() { return active_ != nullptr; }
  static void add(int64_t operations) {
    if (active_) active_->count_ += operations;
  }

 private:
  static inline thread_local FlopCounter* active_ = nullptr;

  FlopCounter* outer_;
  int64_t count_ = 0;
};

}  // namespace plinth
