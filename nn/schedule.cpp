#include "nn/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/nearest.h"

namespace plinth::nn {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"constant", "linear", "cosine", "wsd"};

// From a at q = 0 to b at q = 1.
double between(double a, double b, double q) {
  return a + (b - a) * q;
}

// The part of [begin, end) that is done at step.
double part_done(int64_t step, int64_t begin, int64_t end) {
  const double q = static_cast<double>(step - begin) / static_cast<double>(end - begin);
  return std::clamp(q, 0.0, 1.0);
}

}  // namespace

ScheduleKind schedule_kind(std::string_view name) {
  const auto at = std::ranges::find(kNames, name);
  check(at != kNames.end(), ErrorKind::Argument, "schedule", "got \"", name, "\", did you mean \"",
        nearest(name, kNames), "\"? It takes constant, linear, cosine or wsd");
  return static_cast<ScheduleKind>(at - kNames.begin());
}

void Schedule::validate() const {
  const auto fits = [](bool ok, std::string_view field, auto value, std::string_view takes) {
    check(ok, ErrorKind::Argument, "schedule", field, " is ", value, ", expected ", takes);
  };
  fits(std::isfinite(peak) && peak >= 0, "peak", peak, "at least 0");
  fits(floor >= 0 && floor <= peak, "floor", floor, "between 0 and the peak");
  fits(warmup >= 0, "warmup", warmup, "at least 0");
  if (kind == ScheduleKind::Constant) return;
  fits(steps > 0, "steps", steps, "at least 1");
  fits(warmup <= steps, "warmup", warmup, "at most the run's steps");
  if (kind != ScheduleKind::WarmupStableDecay) return;
  fits(decay >= 0 && decay <= steps - warmup, "decay", decay,
       "at least 0 and at most the steps after warm-up");
}

double Schedule::at(int64_t step) const {
  check(step >= 0, ErrorKind::Argument, "schedule", "step is ", step, ", expected at least 0");
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (kind == ScheduleKind::Constant) return peak;
  if (step >= steps) return floor;
  switch (kind) {
    case ScheduleKind::Linear: return between(peak, floor, part_done(step, warmup, steps));
    case ScheduleKind::Cosine: {
      const double q = part_done(step, warmup, steps);
      return between(floor, peak, 0.5 * (1 + std::cos(M_PI * q)));
    }
    default: {
      if (step < steps - decay) return peak;
      const double q = part_done(step, steps - decay, steps);
      return between(peak, floor, shape == DecayShape::Linear ? q : std::sqrt(q));
    }
  }
}

}  // namespace plinth::nn
