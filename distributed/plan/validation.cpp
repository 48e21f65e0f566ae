#include "distributed/plan/validation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace plinth::plan {
namespace {

double squared_errors(const std::vector<Measurement>& rows, const Calibration& calibration) {
  double sum = 0;
  for (const Measurement& row : rows) {
    const double error = relative_error(row, calibration);
    sum += error * error;
  }
  return sum;
}

}  // namespace

double predict(const Measurement& row, const Calibration& calibration) {
  const StepCost cost = step_cost(*row.gpu, row.work, row.strategy, calibration);
  const double utilised = row.gpu->bfloat16_flops / 1e12;
  switch (row.metric) {
    case Metric::Seconds: return cost.seconds;
    case Metric::TokensPerSecond: return cost.tokens_per_second;
    case Metric::HardwareTeraflops: return cost.hardware_utilisation * utilised;
    case Metric::ModelTeraflops:
      return cost.tokens_per_second * row.work.model.flops_per_token(row.work.sequence, true) /
             1e12;
  }
  return 0;
}

double relative_error(const Measurement& row, const Calibration& calibration) {
  return predict(row, calibration) / row.measured - 1;
}

double median_error(const std::vector<Measurement>& rows, const Calibration& calibration) {
  check(!rows.empty(), ErrorKind::Argument, "median_error", "got no rows");
  std::vector<double> errors;
  errors.reserve(rows.size());
  for (const Measurement& row : rows) errors.push_back(std::abs(relative_error(row, calibration)));
  std::ranges::sort(errors);
  const size_t middle = errors.size() / 2;
  return errors.size() % 2 ? errors[middle] : (errors[middle - 1] + errors[middle]) / 2;
}

Calibration calibrate() {
  const std::vector<Measurement> rows = calibration_rows();
  Calibration best = {0.75, 0.75};
  double least = squared_errors(rows, best);
  // The best of 5 x 5 points around the best so far.
  const auto improve = [&](double step) {
    constexpr int kReach = 2;
    const Calibration middle = best;
    const double before = least;
    for (int i = -kReach; i <= kReach; ++i) {
      for (int j = -kReach; j <= kReach; ++j) {
        const Calibration tried = {middle.product + i * step, middle.memory + j * step};
        const double sum = squared_errors(rows, tried);
        if (sum >= least) continue;
        least = sum;
        best = tried;
      }
    }
    return least < before;
  };
  for (const double step : {0.1, 0.02, 0.005}) {
    while (improve(step)) continue;
  }
  return best;
}

}  // namespace plinth::plan
