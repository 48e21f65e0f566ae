#pragma once

// The checkpoints of a run directory: `step-000123/`, each whole or absent.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace plinth {

struct CheckpointPath {
  int64_t step = 0;
  std::filesystem::path path;
};

// "step-000123".
std::string checkpoint_name(int64_t step);

// All directories that are named as checkpoints, oldest first; their content is not looked at.
std::vector<CheckpointPath> list_checkpoints(const std::filesystem::path& run);

// The newest checkpoint whose manifest holds (train/checkpoint/manifest.h). Each newer one that is
// passed over is told to `warn`, as one line that names the one taken, if there is one.
std::optional<CheckpointPath> latest_checkpoint(
    const std::filesystem::path& run, const std::function<void(const std::string&)>& warn);

// The same for a run that is to go on, which begins where nothing is named as a checkpoint. Throws
// Error(Format) naming the newest where there are some and none is whole: a run that began again
// would write over what is left of the earlier one.
std::optional<CheckpointPath> checkpoint_to_resume(
    const std::filesystem::path& run, const std::function<void(const std::string&)>& warn);

// The model directory that a user means: the path itself if it holds a config.json, else `model/`
// in it, which a finished fine-tuning leaves there, else the latest checkpoint in it. Throws
// Error(Io) naming what was looked for, or saying that a run has not come to a checkpoint.
std::filesystem::path resolve_model_directory(const std::filesystem::path& path,
                                              const std::function<void(const std::string&)>& warn);

// Removes all checkpoints but the newest keep_last (at least 1) and that of best_step, if any.
// Those of the steps `damaged` take no place of a whole one among the newest: they go once so many
// whole ones are newer. A crash in between leaves each whole or absent.
void prune_checkpoints(const std::filesystem::path& run, int64_t keep_last,
                       std::optional<int64_t> best_step, const std::set<int64_t>& damaged = {});

}  // namespace plinth
