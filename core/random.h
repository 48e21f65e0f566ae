#pragma once

// Random keys. A random op of a training run takes the run's seed, the optimizer step, its own
// number within the step and the global number of its first sample, never a thread or rank, so that
// dropout is the same however the batch is divided.

#include "kernels/philox.h"

namespace plinth {

// The thread's source of keys.
class Generator {
 public:
  // Starts again at step 0, op 0, sample 0.
  void seed(uint64_t seed) { key_ = {.seed = seed}; }
  // Begins an optimizer step (or micro-batch) whose batch starts at global sample `first_sample`.
  // With a place, which is device memory, ops on that device read step and sample there when they
  // run: those of a CUDA graph at each replay.
  void begin_step(uint64_t step, int64_t first_sample = 0,
                  const kernels::PhiloxPlace* place = nullptr) {
    key_ = {.seed = key_.seed, .step = step, .op = 0, .sample = first_sample, .place = place};
  }
  // The key of the next random op.
  kernels::PhiloxKey next() {
    kernels::PhiloxKey key = key_;
    ++key_.op;
    return key;
  }
  // All there is to save and restore.
  const kernels::PhiloxKey& state() const { return key_; }
  void restore(const kernels::PhiloxKey& state) { key_ = state; }

 private:
  kernels::PhiloxKey key_;
};

// This thread's generator, seeded with 0.
Generator& generator();
inline void manual_seed(uint64_t seed) {
  generator().seed(seed);
}

}  // namespace plinth
