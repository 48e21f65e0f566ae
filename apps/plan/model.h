#pragma once

#include <string>

#include "distributed/plan/workload.h"

namespace plinth::apps {

// The sizes of a preset by its name, else of a config.json or of a directory that holds one; its
// weights are not read. Throws Error(Argument) for what is neither, Error(Format) for a config.json
// of a family that the planner does not know.
plan::Transformer planned_model(const std::string& words);

// The sizes of a config.json's text. `source` names it, in messages and as the model's name.
plan::Transformer planned_model_of(const std::string& config_json, const std::string& source);

}  // namespace plinth::apps
