// Where softplus would overflow, or lose what is small beside 1: what the table's rows, whose
// tolerance is that of their largest result, do not see.

#include <gtest/gtest.h>

#include <cmath>

#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/ops/softplus.h"

namespace plinth {
namespace {

TEST(Softplus, KeepsSmallValues) {
  for (const double x : {-10.0, -25.0, -80.0}) {
    EXPECT_NEAR(softplus(scalar(x)).item(), std::exp(x), 1e-4 * std::exp(x));
    EXPECT_NEAR(log_sigmoid(scalar(-x)).item(), -std::exp(x), 1e-4 * std::exp(x));
  }
  EXPECT_NEAR(softplus(scalar(-40, {DType::Float64, {}})).item(), std::exp(-40),
              1e-14 * std::exp(-40));
}

TEST(Softplus, OverflowsNeitherThereNorInItsGradient) {
  const Tensor x = from_values<float>({-1e4F, 1e4F, -INFINITY, INFINITY}, {4}).set_requires_grad();
  const Tensor y = softplus(x);
  EXPECT_EQ(to_vector(y), (std::vector<double>{0, 1e4, 0, INFINITY}));
  EXPECT_EQ(to_vector(log_sigmoid(x)), (std::vector<double>{-1e4, 0, -INFINITY, 0}));
  sum(y).backward();
  EXPECT_EQ(to_vector(x.grad()), (std::vector<double>{0, 1, 0, 1}));
}

}  // namespace
}  // namespace plinth
