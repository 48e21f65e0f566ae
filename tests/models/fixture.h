#pragma once

// The reference models of tests/fixtures, and how near values must be to theirs.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <set>
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

// What a fixture's inputs and values are, by their names in its file.
inline nn::StateDict expected_of(const std::string& name) {
  return read_tensors(fixture(name) / "expected.safetensors");
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

inline double largest_of(const Tensor& x) {
  double largest = 0;
  for (const double element : to_vector(x)) largest = std::max(largest, std::abs(element));
  return largest;
}

// What is zero but for rounding (the bias of keys, that of logits which a softmax over tokens
// takes) is measured by a hundredth of the largest gradient.
inline void expect_gradients(const nn::StateDict& gradients, const nn::StateDict& expected,
                             double bound = 2e-5) {
  double largest = 0;
  for (const auto& [name, tensor] : expected) {
    if (name.starts_with("grad.")) largest = std::max(largest, largest_of(tensor));
  }
  size_t compared = 0;
  for (const auto& [name, gradient] : gradients) {
    const Tensor reference = nn::find(expected, "grad." + name);
    if (!reference.defined()) continue;
    const double scale = largest_of(reference) / std::max(largest_of(reference), 0.01 * largest);
    EXPECT_LT(relative_distance(gradient, reference) * scale, bound) << name;
    ++compared;
  }
  const auto count = std::ranges::count_if(
      expected, [](const nn::NamedTensor& entry) { return entry.name.starts_with("grad."); });
  EXPECT_EQ(static_cast<int64_t>(compared), count);
}

// The tensors of a directory.
inline std::set<std::string> weight_names(const std::filesystem::path& directory) {
  std::set<std::string> names;
  for (const TensorRecord& record : SafetensorsCheckpoint::open(directory).records())
    names.insert(record.name);
  return names;
}

// Whether two models have the same values, to the bit.
inline void expect_same_state(const nn::Module& one, const nn::Module& other) {
  const nn::StateDict a = one.state_dict(), b = other.state_dict();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(to_vector(a[i].tensor), to_vector(b[i].tensor)) << a[i].name;
}

}  // namespace plinth
