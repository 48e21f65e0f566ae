#include "nn/optim/groups.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "nn/layers/embedding.h"

namespace plinth::nn {
namespace {

std::string_view last_part(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

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

MuonGroups muon_groups(const Module& module, const std::vector<std::string>& output_heads) {
  std::unordered_set<const TensorImpl*> excluded;
  for (const NamedModule& entry : module.named_modules()) {
    const bool is_head =
        std::ranges::find(output_heads, last_part(entry.path)) != output_heads.end();
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
