#pragma once

// What eval and predict let a user say of a fine-tuned model's task.

#include <string>

#include "train/finetune/tasks.h"

namespace CLI {
class App;
}

namespace plinth::apps {

struct TaskOptions {
  TaskSettings settings;
  int64_t batch = 32;

  // How long inputs may be.
  void add_lengths_to(CLI::App& command);
  // What a CLIP is to tell apart.
  void add_labels_to(CLI::App& command);
  // What is spoken, and how it is written down.
  void add_speech_to(CLI::App& command);
  // How sure a model must be of what it names.
  void add_threshold_to(CLI::App& command);
  // Where labelled files have what.
  void add_columns_to(CLI::App& command);
};

// The options of add_lengths_to() that make eval and predict read and write as a run's task did,
// each behind a space; of those that are their defaults, none.
std::string length_options(const TaskSettings& settings);

}  // namespace plinth::apps
