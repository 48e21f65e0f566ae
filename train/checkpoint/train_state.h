#pragma once

// What a run must remember besides its tensors: state.json of a checkpoint.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "train/logging/report/run_history.h"

namespace plinth {

struct TrainState {
  int64_t step = 0;  // optimizer steps done, those skipped included
  uint64_t seed = 0;
  std::string loader;         // BatchSource::state()
  int64_t skipped_steps = 0;  // in all
  int64_t bad_in_a_row = 0;
  double average_loss =
      std::numeric_limits<double>::quiet_NaN();  // what a loss that explodes is measured by
  std::optional<int64_t> best_step;              // of the least cost in validation
  double best_loss = std::numeric_limits<double>::quiet_NaN();  // that cost: mostly the loss
  std::vector<TextSample> samples;                              // texts written so far
  std::map<std::string, double> metrics;                        // the last row's; not read back
  std::map<std::string, std::string> versions;                  // of what wrote it; not read back

  // JSON; numbers that are not finite are null.
  std::string to_json() const;
  // Throws Error(Format, subject) naming the key.
  static TrainState parse(std::string_view json, std::string_view subject);
  static TrainState read(const std::filesystem::path& path);
};

}  // namespace plinth
