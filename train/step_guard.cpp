#include "train/step_guard.h"

#include <cmath>

#include "core/error.h"

namespace plinth {

double StepGuard::loss_limit() const {
  return options_.explosion_factor > 0 && has_average()
             ? options_.explosion_factor * state_.average_loss
             : std::numeric_limits<double>::infinity();
}

// A loss of 0, as of a batch without labels, says nothing of what the next one may be.
bool StepGuard::has_average() const {
  return state_.average_loss > 0;
}

std::string StepGuard::fault(double loss, double grad_norm) const {
  if (!std::isfinite(loss)) return detail::concat("the loss is ", loss);
  if (!std::isfinite(grad_norm)) return detail::concat("the gradient norm is ", grad_norm);
  if (loss > loss_limit())
    return detail::concat("the loss ", loss, " is above ", options_.explosion_factor,
                          " times its moving average ", state_.average_loss);
  return "";
}

bool StepGuard::accept(int64_t step, double loss, double grad_norm) {
  const std::string wrong = fault(loss, grad_norm);
  if (wrong.empty()) {
    constexpr double keep = 0.95;
    state_.average_loss = has_average() ? keep * state_.average_loss + (1 - keep) * loss : loss;
    state_.bad_in_a_row = 0;
    return true;
  }
  ++state_.skipped;
  ++state_.bad_in_a_row;
  if (state_.bad_in_a_row >= options_.max_bad_steps)
    throw TrainingDiverged(detail::concat("training diverged: at step ", step, " ", wrong, "; ",
                                          state_.bad_in_a_row, " bad steps in a row"));
  return false;
}

}  // namespace plinth
