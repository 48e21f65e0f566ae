#pragma once

// What to do about a step whose loss or gradient is no number, or far too large.

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

namespace plinth {

// Training does not recover: too many bad steps in a row.
class TrainingDiverged : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct StepGuardOptions {
  int64_t max_bad_steps = 5;    // in a row
  double explosion_factor = 0;  // a loss above this many times the moving average is bad; 0: never
};

class StepGuard {
 public:
  // What a checkpoint keeps.
  struct State {
    int64_t skipped = 0;  // in all
    int64_t bad_in_a_row = 0;
    double average_loss = std::numeric_limits<double>::quiet_NaN();  // over about 20 good steps
  };

  explicit StepGuard(StepGuardOptions options) : options_(options) {}

  // The largest loss that the next step may have: infinity where none is too large.
  double loss_limit() const;

  // Whether the weights may be updated. A bad step is counted, and throws TrainingDiverged, naming
  // what was wrong, when it is one too many in a row.
  bool accept(int64_t step, double loss, double grad_norm);

  const State& state() const { return state_; }
  void restore(const State& state) { state_ = state; }

 private:
  bool has_average() const;
  // Empty for a good step.
  std::string fault(double loss, double grad_norm) const;

  StepGuardOptions options_;
  State state_;
};

}  // namespace plinth
