#pragma once

// Every way to lay a job out on its GPUs, and the fastest that fit.

#include <cstdint>
#include <functional>
#include <vector>

#include "distributed/plan/cost.h"

namespace plinth::plan {

struct Plan {
  Strategy strategy;
  StepCost cost;
};

struct SearchResult {
  std::vector<Plan> plans;  // the fastest first
  int64_t tried = 0;        // layouts that divide the model and the batch
  int64_t fitting = 0;      // of them, those that the memory holds
  double least_bytes = 0;   // the memory that the smallest of them takes
};

// Of a GPU's memory, what is left to training beside the driver, the collectives' buffers and what
// is lost between blocks.
inline constexpr double kUsableMemory = 0.92;

// The `most` fastest plans for `ranks` GPUs: tensor axes of powers of two within a node, context
// axes of at least 4096 tokens a rank, pipelines with every schedule, replicas sharded whole or by
// node, experts on powers of two of them, micro-batches of powers of two up to 16, with and without
// recomputation; of them those that `takes` takes, if it is given. Throws Error(Argument) for sizes
// below 1, and where nothing divides.
SearchResult search(const Gpu& gpu, const Workload& work, int64_t ranks, size_t most,
                    const Calibration& calibration = {},
                    const std::function<bool(const Strategy&)>& takes = {});

}  // namespace plinth::plan
