#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "train/checkpoint/run_directory.h"

namespace plinth {

// The steps of a run's checkpoints.
inline std::vector<int64_t> steps_in(const std::filesystem::path& run) {
  std::vector<int64_t> steps;
  for (const CheckpointPath& checkpoint : list_checkpoints(run)) steps.push_back(checkpoint.step);
  return steps;
}

}  // namespace plinth
