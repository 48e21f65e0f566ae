#pragma once

// A run of pretraining whose family has an Objective: pretrain.h calls it.

#include <functional>
#include <memory>
#include <string>

#include "train/pretrain/pretrain.h"

namespace plinth {

// As pretrain(). Ranks share micro-batches, and all have the whole model. Throws Error(Config) also
// for the keys of other ways to share it, for train.float8 and for samples of text.
PretrainResult run_objective(const PretrainConfig& config, const ConfigSchema& schema, bool resume,
                             const std::function<void(const std::string&)>& tell, Device device,
                             const std::shared_ptr<distributed::ProcessGroup>& group);

}  // namespace plinth
