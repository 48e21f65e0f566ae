#pragma once

// What `plinth plan` is asked.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "distributed/plan/workload.h"

namespace plinth::apps {

struct PlanQuestion {
  const plan::Gpu* gpu = nullptr;
  plan::Workload work;
  int64_t gpus = 0;
};

// A run of `plinth pretrain`.
struct RunFile {
  std::filesystem::path path;          // TOML
  std::vector<std::string> overrides;  // key=value
};

}  // namespace plinth::apps
