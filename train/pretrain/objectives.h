#pragma once

// The objectives that there are, by the family that they pretrain.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "train/pretrain/objective.h"

namespace plinth {

struct PretrainConfig;

// The families that are pretrained by an Objective alone: "t5", "vit_mae", "clip".
std::span<const std::string_view> objective_types();

// The family that a run trains: model.type, or that of the config.json that it begins with. Throws
// what reading that does.
std::string trained_type(const PretrainConfig& config);

// Whether a run is one of an Objective: of those families, or of a bert with next sentences.
bool has_objective(const PretrainConfig& config);

// The objective with its model, drawn or read, and its data. Throws Error(Config) naming the key,
// and what reading files throws.
std::unique_ptr<Objective> make_objective(const PretrainConfig& config,
                                          const std::function<void(const std::string&)>& tell);

}  // namespace plinth
