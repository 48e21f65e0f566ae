#include "train/log_settings.h"

namespace plinth {

void declare_log(ConfigSchema& schema, LogSettings& settings) {
  schema.section("log", "what is written about the run");
  schema.field("log.every", &settings.every).at_least(1).help("steps between rows");
  schema.field("log.tensorboard", &settings.tensorboard).help("event files for TensorBoard");
  schema.field("log.report", &settings.report).help("report.html, made at each checkpoint");
}

RecorderOptions recorder_options(const LogSettings& settings, const std::filesystem::path& run,
                                 const ConfigSchema& schema) {
  RecorderOptions options;
  options.every = settings.every;
  options.tensorboard = settings.tensorboard;
  options.report = settings.report;
  options.title = run.filename().string();
  options.config = schema.values();
  return options;
}

}  // namespace plinth
