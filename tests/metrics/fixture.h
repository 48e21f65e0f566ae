#pragma once

// Cases of tests/fixtures/metrics, whose expected scores reference packages gave.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "metrics/classification.h"
#include "tests/fixtures.h"

namespace plinth::metrics {

inline nlohmann::json read_cases(const std::string& name) {
  std::ifstream file(PLINTH_FIXTURES "/metrics/" + name + ".json");
  nlohmann::json cases = nlohmann::json::parse(file);
  EXPECT_FALSE(cases.empty());
  return cases;
}

// To float64 rounding of sums in another order.
inline void expect_score(double actual, const nlohmann::json& expected, const std::string& what) {
  const double wanted = expected.get<double>();
  EXPECT_NEAR(actual, wanted, 1e-12 * std::max(1.0, std::abs(wanted))) << what;
}

// `expected` is precision, recall and F1.
inline void expect_f1(const F1& actual, const nlohmann::json& expected, const std::string& what) {
  expect_score(actual.precision, expected[0], what + ", precision");
  expect_score(actual.recall, expected[1], what + ", recall");
  expect_score(actual.f1, expected[2], what + ", F1");
}

}  // namespace plinth::metrics
