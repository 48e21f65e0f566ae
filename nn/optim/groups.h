#pragma once

// The trainable parameters of a module, divided into groups that an optimizer treats alike.

#include <optional>
#include <string>
#include <vector>

#include "nn/module.h"
#include "nn/state_dict.h"

namespace plinth::nn {

struct ParameterGroup {
  std::vector<NamedTensor> parameters = {};
  double lr_scale = 1;                      // times the optimizer's lr
  std::optional<double> weight_decay = {};  // in place of the optimizer's
};

// All in one group.
std::vector<ParameterGroup> all_parameters(const Module& module);

// Two groups: tensors of two or more dimensions decay by `weight_decay`, gains and biases do not.
std::vector<ParameterGroup> decay_matrices(const Module& module, double weight_decay);

// For Muon: the hidden matrices, which are neither an Embedding's nor in a module whose path ends
// in one of `output_heads`, and the others, of which gains and biases do not decay.
struct MuonGroups {
  std::vector<ParameterGroup> matrices, others;
};
MuonGroups muon_groups(const Module& module,
                       const std::vector<std::string>& output_heads = {"lm_head"});

}  // namespace plinth::nn
