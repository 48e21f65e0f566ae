#pragma once

// Plans for a configuration of `plinth pretrain`: those that it takes, with the memory that a dry
// run of its step counts in place of an estimate.

#include <cstdint>
#include <string>
#include <vector>

#include "apps/plan/question.h"
#include "apps/run_command.h"
#include "distributed/plan/search.h"

namespace plinth::apps {

struct PretrainPlan {
  plan::Plan plan;
  std::vector<std::string> overrides;  // key=value, what the plan changes in the configuration
  int64_t bytes = 0;                   // at the peak, of the allocator's blocks
  int rank = 0;                        // that has them
};

struct PretrainPlans {
  PlanQuestion question;
  std::vector<PretrainPlan> plans;  // the fastest first
  int64_t tried = 0;                // layouts that divide model and batch
  int64_t dry_runs = 0;             // of the fastest of them, until enough fitted
  int64_t refused = 0;              // of these, by pretrain
  int64_t least_bytes = 0;          // that one of these took; 0: all were refused
};

// The `most` fastest on `gpus` GPUs. A plan's memory is that of the first rank of the first
// pipeline stage or of the last, whichever takes more. Throws Error as pretrain() does for the
// configuration, and Error(Argument) where no layout divides it.
PretrainPlans pretrain_plans(const RunFile& file, const plan::Gpu& gpu, int64_t gpus, size_t most,
                             plan::Attention attention);

}  // namespace plinth::apps
