#pragma once

// The reference models of tests/fixtures, and how near values must be to theirs.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>

#include "core/ops/factories.h"
#include "models/registry.h"
#include "models/tensor_files.h"
#include "tests/fixtures.h"

namespace plinth {

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(PLINTH_FIXTURES) / name;
}

// Largest |a - b|, over the largest |b|.
inline double relative_distance(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = to_vector(a), y = to_vector(b);
  if (x.size() != y.size()) return INFINITY;
  double distance = 0, scale = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) || std::isnan(y[i])) return INFINITY;
    distance = std::max(distance, std::abs(x[i] - y[i]));
    scale = std::max(scale, std::abs(y[i]));
  }
  return scale > 0 ? distance / scale : distance;
}

// The tensor of a fixture's file; a missing one fails the test.
inline Tensor value(const nn::StateDict& values, const std::string& name) {
  Tensor tensor = nn::find(values, name);
  if (!tensor.defined()) throw std::runtime_error("the fixture lacks " + name);
  return tensor;
}

// Every weight's gradient, in the file's names and layout; zeros of an expert that saw no token.
inline nn::StateDict exported_gradients(const nn::Module& model,
                                        const std::vector<WeightSlice>& slices) {
  nn::StateDict gradients;
  for (const auto& [name, parameter] : model.named_parameters()) {
    const Tensor gradient = parameter.grad();
    gradients.push_back({name, gradient.defined() ? gradient : zeros_like(parameter)});
  }
  return export_weights(model, slices, std::nullopt, gradients);
}
inline nn::StateDict exported_gradients(const LanguageModel& model) {
  return exported_gradients(model, model.weight_slices());
}

}  // namespace plinth
