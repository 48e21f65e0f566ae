#include "train/step_guard.h"

#include <gtest/gtest.h>

#include <limits>

namespace plinth {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(StepGuard, LimitsALossByTheAverageOfGoodSteps) {
  StepGuard guard({.max_bad_steps = 2, .explosion_factor = 3});
  EXPECT_EQ(guard.loss_limit(), kInfinity);
  EXPECT_TRUE(guard.accept(1, 2, 1));
  EXPECT_EQ(guard.loss_limit(), 6);
  EXPECT_FALSE(guard.accept(2, 7, 1));
  EXPECT_EQ(guard.loss_limit(), 6);
  EXPECT_EQ(guard.state().skipped, 1);
  EXPECT_TRUE(guard.accept(3, 6, 1));
  EXPECT_DOUBLE_EQ(guard.loss_limit(), 3 * (0.95 * 2 + 0.05 * 6));
  EXPECT_FALSE(guard.accept(4, 1, kInfinity));
  EXPECT_THROW(guard.accept(5, std::numeric_limits<double>::quiet_NaN(), 1), TrainingDiverged);
  EXPECT_EQ(StepGuard({}).loss_limit(), kInfinity);
}

// As of a batch none of whose tokens counts.
TEST(StepGuard, AFirstLossOfZeroLimitsNothing) {
  StepGuard guard({.max_bad_steps = 2, .explosion_factor = 3});
  EXPECT_TRUE(guard.accept(1, 0, 0));
  EXPECT_EQ(guard.loss_limit(), kInfinity);
  EXPECT_TRUE(guard.accept(2, 10, 1));
  EXPECT_EQ(guard.loss_limit(), 30);
}

}  // namespace
}  // namespace plinth
