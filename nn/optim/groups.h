#pragma once

// The trainable parameters of a module, divided into groups that an optimizer treats alike.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
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

// The same two for each depth, of 0 next to the input to `depths` - 1: lr_scale is
// decay^(depths - 1 - depth) (Clark et al. 2020, arXiv 2003.10555, section 3.2; Howard & Ruder
// 2018, arXiv 1801.06146). Throws Error(Argument) for a depth out of range, or a decay outside (0,
// 1].
std::vector<ParameterGroup> decay_layers(
    const Module& module, double weight_decay, double decay, int64_t depths,
    const std::function<int64_t(std::string_view parameter)>& depth_of);

// For Muon: the hidden matrices, which are neither an Embedding's nor in a module whose path ends
// in one of `output_heads`, and the others, of which gains and biases do not decay.
struct MuonGroups {
  std::vector<ParameterGroup> matrices, others;
};
MuonGroups muon_groups(const Module& module,
                       const std::vector<std::string>& output_heads = {"lm_head"});

}  // namespace plinth::nn
