#pragma once

// What is written about a run, as a configuration says, for every kind of run.

#include <cstdint>

#include "train/config/schema.h"
#include "train/run_recorder.h"

namespace plinth {

struct LogSettings {
  int64_t every = 1;
  bool tensorboard = true;
  bool report = true;
};

// Declares the section "log".
void declare_log(ConfigSchema& schema, LogSettings& settings);

// As the settings say, titled by the run's directory; with the values of all keys for the report.
RecorderOptions recorder_options(const LogSettings& settings, const std::filesystem::path& run,
                                 const ConfigSchema& schema);

}  // namespace plinth
