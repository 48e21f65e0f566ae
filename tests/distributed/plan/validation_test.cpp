#include "distributed/plan/validation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace plinth::plan {
namespace {

TEST(Validation, EveryRowOfTheCalibrationIsWithinTenPercent) {
  const std::vector<Measurement> rows = calibration_rows();
  ASSERT_EQ(rows.size(), 8u);
  for (const Measurement& row : rows) EXPECT_LT(std::abs(relative_error(row)), 0.10) << row.row;
}

// None of these rows is used to fit anything.
TEST(Validation, MedianErrorOfThePredictionsIsBelowTenPercent) {
  const std::vector<Measurement> rows = prediction_rows();
  ASSERT_EQ(rows.size(), 35u);
  EXPECT_LT(median_error(rows), 0.10);
  std::set<std::string> tables;
  for (const Measurement& row : rows) tables.insert(row.table);
  EXPECT_EQ(tables.size(), 5u);
}

// The two numbers in the code are those that the fit gives.
TEST(Validation, CalibrationIsTheFit) {
  const Calibration fitted = calibrate(), used;
  EXPECT_NEAR(used.product, fitted.product, 1e-9);
  EXPECT_NEAR(used.memory, fitted.memory, 1e-9);
}

}  // namespace
}  // namespace plinth::plan
