#include "nn/optim/groups.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "core/error.h"
#include "nn/layers/embedding.h"

namespace plinth::nn {
namespace {

std::vector<NamedTensor> trainable(const Module& module) {
  std::vector<NamedTensor> parameters = module.named_parameters();
  std::erase_if(parameters, [](const NamedTensor& entry) { return !entry.tensor.requires_grad(); });
  return parameters;
}

}  // namespace

std::vector<ParameterGroup> all_parameters(const Module& module) {
  return {{.parameters = trainable(module)}};
}

std::vector<ParameterGroup> decay_matrices(const Module& module, double weight_decay) {
  ParameterGroup matrices{.weight_decay = weight_decay}, vectors{.weight_decay = 0.0};
  for (NamedTensor& entry : trainable(module)) {
    (entry.tensor.dim() >= 2 ? matrices : vectors).parameters.push_back(std::move(entry));
  }
  return {std::move(matrices), std::move(vectors)};
}

std::vector<ParameterGroup> decay_layers(
    const Module& module, double weight_decay, double decay, int64_t depths,
    const std::function<int64_t(std::string_view parameter)>& depth_of) {
  check(decay > 0 && decay <= 1, ErrorKind::Argument, "decay_layers", "decay got ", decay,
        ", takes above 0 to 1");
  std::vector<ParameterGroup> groups(static_cast<size_t>(2 * depths));
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i].lr_scale = std::pow(decay, depths - 1 - static_cast<int64_t>(i / 2));
    groups[i].weight_decay = i % 2 == 0 ? weight_decay : 0;
  }
  for (NamedTensor& entry : trainable(module)) {
    const int64_t depth = depth_of(entry.name);
    check(depth >= 0 && depth < depths, ErrorKind::Argument, "decay_layers", "depth of ",
          entry.name, " got ", depth, ", takes 0 to ", depths - 1);
    const size_t group = static_cast<size_t>(2 * depth + (entry.tensor.dim() >= 2 ? 0 : 1));
    groups[group].parameters.push_back(std::move(entry));
  }
  std::erase_if(groups, [](const ParameterGroup& group) { return group.parameters.empty(); });
  return groups;
}

MuonGroups muon_groups(const Module& module, const std::vector<std::string>& output_heads) {
  std::unordered_set<const TensorImpl*> excluded;
  for (const NamedModule& entry : module.named_modules()) {
    const bool is_head = std::ranges::find(output_heads, entry.name()) != output_heads.end();
    if (!is_head && !dynamic_cast<const Embedding*>(entry.module)) continue;
    for (const Tensor& parameter : entry.module->parameters()) excluded.insert(parameter.impl());
  }
  ParameterGroup hidden, other_matrices, vectors{.weight_decay = 0.0};
  for (NamedTensor& entry : trainable(module)) {
    const bool is_hidden = entry.tensor.dim() == 2 && !excluded.contains(entry.tensor.impl());
    ParameterGroup& group = is_hidden ? hidden : entry.tensor.dim() >= 2 ? other_matrices : vectors;
    group.parameters.push_back(std::move(entry));
  }
  return {{std::move(hidden)}, {std::move(other_matrices), std::move(vectors)}};
}

}  // namespace plinth::nn
