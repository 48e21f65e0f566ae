// Powers of one exponent, of which some are products.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/elementwise/elementwise.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
std::vector<T> powers_of(const std::vector<T>& x, T exponent) {
  Loop<3> loop;
  loop.dims = 1;
  loop.size[0] = static_cast<int64_t>(x.size());
  loop.stride[0][0] = loop.stride[1][0] = 1;
  std::vector<T> out(x.size());
  binary(BinaryOp::Pow, loop, x.data(), &exponent, out.data());
  return out;
}

TEST(Power, OfOneExponentIsThatOfEachElement) {
  std::vector<float> x(1001);
  for (size_t i = 0; i < x.size(); ++i) x[i] = (static_cast<float>(i) - 500) * 0.013F;
  for (const float exponent : {0.F, 1.F, 2.F, 3.F, 4.F, -1.F, -2.F}) {
    const std::vector<float> y = powers_of(x, exponent);
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = std::pow(static_cast<double>(x[i]), exponent);
      if (std::isinf(expected)) continue;
      ASSERT_NEAR(y[i], expected, 2e-7 * std::abs(expected)) << x[i] << " to the " << exponent;
    }
  }
}

TEST(Power, KeepsSignsInfinitiesAndNaN) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {-0.F, -kInf, kInf, NAN, -2, 1e30F};
  const std::vector<float> squares = powers_of(x, 2.F), cubes = powers_of(x, 3.F);
  for (size_t i = 0; i < x.size(); ++i) {
    for (const auto& [y, exponent] : {std::pair(squares[i], 2.F), {cubes[i], 3.F}}) {
      const float expected = std::pow(x[i], exponent);
      EXPECT_EQ(std::isnan(y), std::isnan(expected));
      if (std::isnan(y)) continue;
      EXPECT_EQ(y, expected) << x[i] << " to the " << exponent;
      EXPECT_EQ(std::signbit(y), std::signbit(expected)) << x[i] << " to the " << exponent;
    }
  }
  EXPECT_TRUE(powers_of<float>({}, 2).empty());
}

}  // namespace
}  // namespace plinth::kernels::cpu
