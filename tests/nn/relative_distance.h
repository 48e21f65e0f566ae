#pragma once

// How far two sets of tensors are apart.

#include <gtest/gtest.h>

#include <algorithm>

#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "nn/state_dict.h"

namespace plinth::nn {

// The largest difference between two elements, as a part of the largest element of their tensor.
// Fails the test for a tensor that is missing or has another shape.
inline double relative_distance(const StateDict& found, const StateDict& expected) {
  double most = 0;
  for (const auto& [name, tensor] : expected) {
    const Tensor other = find(found, name);
    const bool is_there = other.defined() && other.shape() == tensor.shape();
    EXPECT_TRUE(is_there) << name;
    if (!is_there) continue;
    const double difference = amax(abs(other - tensor)).item();
    if (difference > 0) most = std::max(most, difference / amax(abs(tensor)).item());
  }
  return most;
}

}  // namespace plinth::nn
