#pragma once

// task.toml, beside the weights of a fine-tuned model: how its task reads samples and writes
// answers, so that evaluation and prediction do as training did.

#include <filesystem>
#include <string>

#include "train/config/schema.h"
#include "train/finetune/tasks.h"

namespace plinth {

inline constexpr const char* kTaskFile = "task.toml";

// What it holds, by the keys that a run has for the same. Each declares those of a section, which
// the caller names.
void declare_reading(ConfigSchema& schema, TaskSettings& task);   // of task
void declare_columns(ConfigSchema& schema, TaskSettings& task);   // of data
void declare_language(ConfigSchema& schema, TaskSettings& task);  // of speech

// Its text.
std::string task_file_text(TaskSettings settings);
// What the directory's says, and defaults elsewhere, or where there is none. Throws Error(Config)
// naming the line that does not fit.
TaskSettings read_task_file(const std::filesystem::path& directory);

}  // namespace plinth
