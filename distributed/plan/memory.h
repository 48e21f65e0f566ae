#pragma once

// What a rank keeps in its GPU's memory during a step, by kind.

#include <vector>

#include "distributed/plan/strategy.h"

namespace plinth::plan {

// Bytes.
struct MemoryUse {
  double parameters = 0;   // bfloat16; with zero_stage 3 a share, and two layers gathered
  double gradients = 0;    // as they are summed
  double optimizer = 0;    // AdamW: parameters and both moments in float32
  double activations = 0;  // kept for backward
  double logits = 0;       // of a micro-batch, on the last stage

  double total() const { return parameters + gradients + optimizer + activations + logits; }
};

// Bytes of activations that one micro-batch leaves in one layer: Korthikanti et al. 2022 (arXiv
// 2205.05198), section 4, their sums by term, so that they hold for gated MLPs, fewer heads of keys
// and values, fused attention and no dropout too.
double layer_activation_bytes(const Workload& work, const Strategy& strategy);

// Of the rank that holds the most, where stage s keeps `in_flight[s]` pieces at once.
MemoryUse memory_use(const Workload& work, const Strategy& strategy,
                     const std::vector<int>& in_flight);

// Matrices' elements on a rank of a stage, before data_shard.
struct StageParameters {
  double dense = 0;    // the same on every data rank
  double experts = 0;  // the same on every strategy.expert-th, where that is more than 1

  double whole() const { return dense + experts; }
  // What a rank has of them where data_shard shares them.
  double shared(const Strategy& strategy) const;
};
StageParameters stage_parameters(const Workload& work, const Strategy& strategy, int stage);

}  // namespace plinth::plan
