#pragma once

// Learning rates as pure functions of the step: nothing to save, nothing to restore.

#include <cstdint>
#include <string_view>

namespace plinth::nn {

enum class ScheduleKind {
  Constant,
  Linear,  // to `floor` at `steps`
  Cosine,  // to `floor` at `steps` by half a cosine (Loshchilov & Hutter 2017, 1608.03983)
  WarmupStableDecay  // constant, then down over the last `decay` steps (Hu et al. 2024, 2404.06395)
};

// "constant", "linear", "cosine" or "wsd"; anything else throws Error(Argument).
ScheduleKind schedule_kind(std::string_view name);

// How WarmupStableDecay goes down, q in [0, 1] being the part of the decay that is done.
enum class DecayShape {
  Linear,       // 1 - q
  OneMinusSqrt  // 1 - sqrt(q) (Hagele et al. 2024, arXiv 2405.18392)
};

// Every kind begins with `warmup` steps that rise linearly, the first of them to peak / warmup.
struct Schedule {
  ScheduleKind kind = ScheduleKind::Constant;
  double peak = 1e-3;
  double floor = 0;    // from `steps` on
  int64_t warmup = 0;  // steps
  int64_t steps = 0;   // of the whole run; Constant needs none
  int64_t decay = 0;   // steps of WarmupStableDecay's decay
  DecayShape shape = DecayShape::OneMinusSqrt;

  // Throws Error(Argument) naming the first field that does not fit the others.
  void validate() const;
  // The learning rate of a step, which counts from 0. Throws Error(Argument) for a negative one.
  double at(int64_t step) const;
};

}  // namespace plinth::nn
