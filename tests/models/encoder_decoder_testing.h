#pragma once

// What the parity tests of encoder-decoders share.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "models/encoder_decoder_registry.h"
#include "tests/models/fixture.h"

namespace plinth {

inline double largest_of(const Tensor& x) {
  double largest = 0;
  for (const double element : to_vector(x)) largest = std::max(largest, std::abs(element));
  return largest;
}

// Every gradient that the fixture has. What is zero but for rounding is measured by a hundredth of
// the largest gradient.
inline void expect_gradients(const EncoderDecoder& model, const nn::StateDict& expected,
                             double bound) {
  double largest = 0;
  std::set<std::string> missing;
  for (const auto& [name, tensor] : expected) {
    if (!name.starts_with("grad.")) continue;
    largest = std::max(largest, largest_of(tensor));
    missing.insert(name);
  }
  for (const auto& [name, gradient] : exported_gradients(model, model.weight_slices())) {
    const Tensor reference = nn::find(expected, "grad." + name);
    if (!reference.defined()) continue;
    missing.erase("grad." + name);
    const double scale = largest_of(reference) / std::max(largest_of(reference), 0.01 * largest);
    EXPECT_LT(relative_distance(gradient, reference) * scale, bound) << name;
  }
  EXPECT_EQ(missing, std::set<std::string>());
}

inline std::set<std::string> names_of_weights(const std::filesystem::path& directory) {
  std::set<std::string> names;
  for (const TensorRecord& record : SafetensorsCheckpoint::open(directory).records())
    names.insert(record.name);
  return names;
}

inline void expect_same_state(const nn::Module& a, const nn::Module& b) {
  const nn::StateDict x = a.state_dict(), y = b.state_dict();
  ASSERT_EQ(x.size(), y.size());
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_EQ(to_vector(x[i].tensor), to_vector(y[i].tensor)) << x[i].name;
}

}  // namespace plinth
