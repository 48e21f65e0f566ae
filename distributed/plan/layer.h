#pragma once

// What one micro-batch costs in one piece of the model: seconds of each pass.

#include "distributed/plan/kernels.h"
#include "distributed/plan/strategy.h"

namespace plinth::plan {

struct PieceCost {
  // Seconds, the communication that computation does not hide included. What is computed again is
  // in backward_input.
  double forward = 0;
  double backward_input = 0;
  double backward_weight = 0;
  double communication = 0;  // how much of the three that is

  double total() const { return forward + backward_input + backward_weight; }
  // Adds the other `times` times.
  void add(const PieceCost& other, double times = 1);
};

// A transformer layer, as Megatron cuts it (Shoeybi et al. 2019, arXiv 1909.08053; with sequence
// parallelism Korthikanti et al. 2022, arXiv 2205.05198).
PieceCost layer_cost(const Kernels& kernels, const Workload& work, const Strategy& strategy);
// The token embedding, cut by vocabulary.
PieceCost embedding_cost(const Kernels& kernels, const Workload& work, const Strategy& strategy);
// The last norm, the output projection and the loss, cut by vocabulary.
PieceCost head_cost(const Kernels& kernels, const Workload& work, const Strategy& strategy);

// Operations that one token's recomputation adds to the model's, in all layers.
double recomputed_flops_per_token(const Workload& work, const Strategy& strategy);

}  // namespace plinth::plan
