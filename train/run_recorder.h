#pragma once

// What a run tells the world: progress on the terminal, metrics.jsonl, metrics.csv, TensorBoard
// events and report.html in its directory.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/logging/metrics_log.h"
#include "train/logging/progress.h"
#include "train/logging/report/run_history.h"
#include "train/logging/tensorboard.h"

namespace plinth {

// One optimizer step; what is NaN is not written.
struct StepReport {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

  int64_t step = 0;  // counts from 1
  double loss = kUnknown;
  double validation_loss = kUnknown;
  double learning_rate = kUnknown;
  double grad_norm = kUnknown;
  double seconds = kUnknown;                // of the step
  double exposed_communication = kUnknown;  // seconds that ranks waited for one another's gradients
  int64_t tokens = 0;                       // (or samples) in it
  double flops = 0;                         // operations in it; 0: unknown
  int64_t skipped = 0;                      // steps skipped so far
};

struct RecorderOptions {
  std::filesystem::path directory;  // empty: only progress is shown
  int64_t steps = 0;                // of the whole run
  int64_t every = 1;                // steps between rows
  std::optional<int64_t> resumed_step;
  bool tensorboard = true;
  bool report = true;
  bool quiet = false;     // no progress
  double peak_flops = 0;  // the machine's, a second; 0: utilisation is not given
  std::string unit = "tok/s";
  std::string title;  // of the report
  std::string subtitle;
  std::vector<std::pair<std::string, std::string>> config;
};

class RunRecorder {
 public:
  explicit RunRecorder(RecorderOptions options);

  // Every step; a row is written where it is due, or carries a validation loss, or is the last.
  void step(const StepReport& report);
  void sample(const TextSample& sample);
  const std::vector<TextSample>& samples() const { return samples_; }
  // Samples of the part of the run before it was resumed.
  void restore_samples(std::vector<TextSample> samples) { samples_ = std::move(samples); }
  // A line above the progress bar.
  void message(std::string_view line);
  // The last row's values, by column.
  const MetricsRow& last_row() const { return last_row_; }
  // Writes report.html from all that was recorded.
  void write_report() const;
  void finish();

 private:
  MetricsRow row_of(const StepReport& report) const;

  RecorderOptions options_;
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<MetricsLog> metrics_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
  std::vector<TextSample> samples_;
  MetricsRow last_row_;
  double last_validation_ = StepReport::kUnknown;
};

}  // namespace plinth
