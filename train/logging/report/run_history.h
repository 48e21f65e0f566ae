#pragma once

// What a report tells of a run.

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "train/logging/metrics_log.h"

namespace plinth {

struct Point {
  double x = 0;  // the step, in curves over a run
  double y = 0;
};

// A text that the model wrote after some step.
struct TextSample {
  int64_t step = 0;
  std::string prompt;
  std::string continuation;
};

struct RunHistory {
  std::string title;     // "gpt2-124m"
  std::string subtitle;  // "GPT-2, 124M parameters, on the King James Bible"
  // The numbers that sum the run up, as name and text, those of most interest first.
  std::vector<std::pair<std::string, std::string>> summary;
  // Keys and values: ConfigSchema::values().
  std::vector<std::pair<std::string, std::string>> config;

  std::vector<Point> loss;
  std::vector<Point> validation_loss;
  std::vector<Point> learning_rate;
  std::vector<Point> gradient_norm;
  std::vector<Point> throughput;
  std::string throughput_unit = "tokens/s";

  // In the order of their steps: the first is from before the training, the last from after it.
  std::vector<TextSample> samples;
};

// Appends the columns loss, val_loss, lr, grad_norm and tokens_per_s of the rows to the curves.
void add_metrics(RunHistory& history, std::span<const MetricsRow> rows);

}  // namespace plinth
