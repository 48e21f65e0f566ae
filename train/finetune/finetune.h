#pragma once

// Fine-tuning a model for a task as a configuration says: task, data, optimizer and schedule put
// together, and handed to a Trainer.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "distributed/process_group.h"
#include "train/finetune/config.h"
#include "train/finetune/evaluate.h"
#include "train/trainer.h"

namespace plinth {

struct FinetuneResult {
  TrainResult training;
  std::optional<TaskEvaluation> validation;  // of the weights that were kept
  std::filesystem::path model;  // their directory; empty: a signal ended the run, or another rank
};

// Runs, or with `resume` goes on with, the run in config.run.directory; the schema is that of
// `config`. When it is done, the weights that validation likes best, or without validation the
// last, are written to model/ there, as Hugging Face's libraries read them. `tell` is given lines
// for the user. Throws Error for what is wrong with the configuration, its files or the disk,
// TrainingDiverged for a run that does not recover.
//
// Ranks of a group, null for one process, all call it: they share each step's micro-batches, and
// give the weights' bits that one process gives. The first alone tells, and writes model/.
FinetuneResult finetune(const FinetuneConfig& config, const ConfigSchema& schema, bool resume,
                        const std::function<void(const std::string&)>& tell, Device device = {},
                        const std::shared_ptr<distributed::ProcessGroup>& group = nullptr);

}  // namespace plinth
