#pragma once

// The names of a classifier's classes, as config.json has them: id2label and label2id.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/config_json.h"

namespace plinth {

// In the order of their ids; LABEL_0 and LABEL_1, transformers' default, where there are none.
// Throws Error(Format) for a name that is no string, fewer than `least` names, and for a
// problem_type other than one label of several.
std::vector<std::string> read_labels(const ConfigJson& json, size_t least = 2);
void write_labels(const std::vector<std::string>& labels, nlohmann::ordered_json& json);

}  // namespace plinth
