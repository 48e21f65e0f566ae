#pragma once

// Pretraining a language model as a configuration says: data, tokenizer, model, optimizer and
// schedule put together, and handed to a Trainer.

#include <functional>
#include <string>

#include "train/pretrain/config.h"
#include "train/trainer.h"

namespace plinth {

struct PretrainResult {
  TrainResult training;
  int64_t parameters = 0;
  double unigram_entropy = 0;  // nats per token, of the training data
};

// Runs, or with `resume` goes on with, the run in config.run.directory; the schema is that of
// `config`. The model is trained on `device`, by all ranks of `group` if it is given; `tell` is
// given lines for the user, on rank 0. Throws Error for what is wrong with the configuration, its
// files or the disk, TrainingDiverged (naming the last good checkpoint) for a run that does not
// recover.
PretrainResult pretrain(const PretrainConfig& config, const ConfigSchema& schema, bool resume,
                        const std::function<void(const std::string&)>& tell, Device device = {},
                        const std::shared_ptr<distributed::ProcessGroup>& group = nullptr);

}  // namespace plinth
