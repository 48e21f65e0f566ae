#pragma once

// Low-rank adaptation of a module's linear layers (Hu et al. 2021, arXiv 2106.09685): see
// nn::Linear::add_lora().

#include <string>
#include <vector>

#include "nn/layers/linear.h"
#include "nn/module.h"

namespace plinth::nn {

// Adapts every Linear below `module` whose name, the last part of its path, is one of `targets`:
// "qkv", "out", "up", "down" of transformer blocks. What is learned is drawn from the seed. Returns
// the paths. Throws Error(Argument) for a target that no Linear has, and what Linear::add_lora()
// throws; the module is then as it was.
std::vector<std::string> add_lora(Module& module, const LoraOptions& options,
                                  const std::vector<std::string>& targets, uint64_t seed);

// The weights of the adapted layers as they would be after merge_lora(), by the names of
// parameters.
StateDict merged_weights(const Module& module);

// Adds what was learned to the weights: the outputs stay the same.
void merge_lora(Module& module);

}  // namespace plinth::nn
