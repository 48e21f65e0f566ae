#pragma once

// What `plinth plan` is asked.

#include <cstdint>

#include "distributed/plan/workload.h"

namespace plinth::apps {

struct PlanQuestion {
  const plan::Gpu* gpu = nullptr;
  plan::Workload work;
  int64_t gpus = 0;
};

}  // namespace plinth::apps
