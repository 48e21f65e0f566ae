#pragma once

// Parameters for the tests of optimizers.

#include "nn/optim/optimizer.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {

// Leaves named "a", "b", ... with fixed irregular values, in one group.
inline ParameterGroup leaves(const std::vector<Shape>& shapes, TensorOptions options = kFloat64) {
  ParameterGroup group;
  for (uint32_t i = 0; i < shapes.size(); ++i) {
    Tensor leaf = values(shapes[i], i, options).detach().set_requires_grad();
    group.parameters.push_back({std::string(1, static_cast<char>('a' + i)), leaf});
  }
  return group;
}

// Gives each parameter the gradient of a numbered step.
inline void set_gradients(const ParameterGroup& group, uint32_t step,
                          std::optional<DType> dtype = {}) {
  for (uint32_t i = 0; i < group.parameters.size(); ++i) {
    Tensor parameter = group.parameters[i].tensor;
    const TensorOptions options = {dtype.value_or(parameter.dtype()), {}};
    parameter.set_grad(values(parameter.shape(), 100 * step + i, options));
  }
}

inline std::vector<std::vector<double>> values_of(const ParameterGroup& group) {
  std::vector<std::vector<double>> result;
  for (const NamedTensor& entry : group.parameters) result.push_back(to_vector(entry.tensor));
  return result;
}

}  // namespace plinth::nn
