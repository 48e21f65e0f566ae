#pragma once

// What the tests of nn/ share.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/ops/factories.h"
#include "core/tensor.h"

namespace plinth::nn {

// The message of the Error that f throws.
template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline constexpr TensorOptions kFloat64 = {DType::Float64, {}};

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
