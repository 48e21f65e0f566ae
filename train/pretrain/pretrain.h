#pragma once

// Pretraining a model as a configuration says: data, tokenizer, model, optimizer and schedule put
// together, and handed to a Trainer.

#include <functional>
#include <optional>
#include <string>

#include "models/language_model.h"
#include "train/pretrain/config.h"
#include "train/trainer.h"

namespace plinth {

struct PretrainResult {
  TrainResult training;
  std::string type;  // the family
  int64_t parameters = 0;
  // Nats per token, of the training data; of a language model alone.
  std::optional<double> unigram_entropy = {};
  bool causal = true;  // of such, whether it writes text; else it fills in masked tokens
};

// Runs, or with `resume` goes on with, the run in config.run.directory; the schema is that of
// `config`. The model is trained on `device`, by all ranks of `group` if it is given; `tell` is
// given lines for the user, on rank 0. Throws Error for what is wrong with the configuration, its
// files or the disk, TrainingDiverged (naming the last good checkpoint) for a run that does not
// recover. Families with an Objective (objectives.h) take ranks with whole models alone.
PretrainResult pretrain(const PretrainConfig& config, const ConfigSchema& schema, bool resume,
                        const std::function<void(const std::string&)>& tell, Device device = {},
                        const std::shared_ptr<distributed::ProcessGroup>& group = nullptr);

// A run that is made as pretrain() makes it, and goes no further than the caller takes it.
struct PretrainParts {
  LanguageModel& model;
  const nn::Optimizer& optimizer;
  Trainer& trainer;  // step() trains one
};

// Makes the parts of a language model's run, on the CPU, and calls `use` with them. The
// micro-batches of this rank come from `data`, {ids, targets} each; files of tokens and of weights
// are not read (a model of model.init_from has weights that nobody set), and no file is written.
// For those who ask what a step takes: train/pretrain/dry_run.h. Throws Error for a configuration
// that does not fit together.
void with_trainer(const PretrainConfig& config, const ConfigSchema& schema, BatchSource& data,
                  const std::shared_ptr<distributed::ProcessGroup>& group,
                  const std::function<void(const PretrainParts&)>& use);

}  // namespace plinth
