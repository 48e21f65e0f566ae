#pragma once

// What the tests of nn/ share.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "core/io/safetensors.h"
#include "core/ops/factories.h"
#include "core/tensor.h"
#include "nn/module.h"
#include "nn/state_dict.h"
#include "tests/core/io/expect_error.h"

namespace plinth::nn {

inline constexpr TensorOptions kFloat64 = {DType::Float64, {}};

inline Tensor parameter(const Module& module, const std::string& name) {
  return find(module.named_parameters(), name);
}

// A tensor of a fixture's file.
inline Tensor read(const SafetensorsFile& file, const std::string& name) {
  const TensorRecord& record = file.record(name);
  const Tensor tensor = Tensor::empty(Shape(std::span(record.shape)), {record.dtype, {}});
  const auto bytes = file.data(name);
  std::memcpy(tensor.raw_data(), bytes.data(), bytes.size());
  return tensor;
}

// Irregular values around zero, the same for the same shape and number.
inline Tensor values(const Shape& shape, uint32_t number = 0, TensorOptions options = kFloat64) {
  return normal(shape, 0, 1, {.seed = 7, .op = number}, options);
}

inline void expect_close(const Tensor& actual, const std::vector<double>& expected,
                         double tolerance, const std::string& what = "") {
  const std::vector<double> got = to_vector(actual);
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], tolerance * (1 + std::fabs(expected[i])))
        << what << ", element " << i;
  }
}
inline void expect_close(const Tensor& actual, const Tensor& expected, double tolerance,
                         const std::string& what = "") {
  ASSERT_EQ(actual.shape(), expected.shape()) << what;
  expect_close(actual, to_vector(expected), tolerance, what);
}

}  // namespace plinth::nn
