#pragma once

// What eval and predict let a user say of a fine-tuned model's task.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "train/finetune/tasks.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace plinth::apps {

class TaskOptions {
 public:
  TaskOptions() = default;
  TaskOptions(const TaskOptions&) = delete;  // a command's options write into this one
  TaskOptions& operator=(const TaskOptions&) = delete;

  int64_t batch = 32;

  // How long inputs may be.
  void add_lengths_to(CLI::App& command);
  // What a CLIP is to tell apart.
  void add_labels_to(CLI::App& command);
  // What is spoken, and how it is written down.
  void add_speech_to(CLI::App& command);
  void add_timestamps_to(CLI::App& command);
  // How sure a model must be of what it names.
  void add_threshold_to(CLI::App& command);
  // Where labelled files have what.
  void add_columns_to(CLI::App& command);

  // For the model of a directory: as its task.toml says, but for what the command line does.
  TaskSettings settings_for(const std::filesystem::path& directory) const;

 private:
  // An option that, if it is given, replaces what task.toml says.
  template <class T>
  CLI::Option* add(CLI::App& command, const std::string& name, T TaskSettings::*member,
                   const std::string& help);
  CLI::Option* add_flag(CLI::App& command, const std::string& name, bool TaskSettings::*member,
                        const std::string& help);
  template <class T>
  CLI::Option* replacing(CLI::Option* option, T TaskSettings::*member);

  TaskSettings given_;
  std::vector<std::function<void(TaskSettings&)>> replace_;
};

}  // namespace plinth::apps
