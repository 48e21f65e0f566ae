#include "kernels/vector_math.h"

#include <gtest/gtest.h>

#include <vector>

namespace plinth::kernels {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

struct Function {
  const char* name;
  float (*ours)(float);
  double (*exact)(double);
  double max_ulps;
};

float math_exp(float x) {
  return math::exp(x);
}
float math_log(float x) {
  return math::log(x);
}
float math_tanh(float x) {
  return math::tanh(x);
}
float math_erf(float x) {
  return math::erf(x);
}
float math_sigmoid(float x) {
  return math::sigmoid(x);
}
double exact_exp(double x) {
  return std::exp(x);
}
double exact_log(double x) {
  return std::log(x);
}
double exact_tanh(double x) {
  return std::tanh(x);
}
double exact_erf(double x) {
  return std::erf(x);
}
double exact_sigmoid(double x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}

const Function functions[] = {{"exp", math_exp, exact_exp, 1.5},
                              {"log", math_log, exact_log, 1.5},
                              {"tanh", math_tanh, exact_tanh, 2},
                              {"erf", math_erf, exact_erf, 2},
                              {"sigmoid", math_sigmoid, exact_sigmoid, 3}};

// The error in units of the last place of the exact value, of a denormal's where that is smaller.
double ulps(float got, double exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : inf;
  const float rounded = static_cast<float>(exact);
  if (std::isinf(rounded) || std::isinf(got)) return rounded == got ? 0 : inf;
  const int exponent = std::max(exact == 0 ? -126 : std::ilogb(exact), -126);
  return std::fabs(got - exact) / std::ldexp(1.0, exponent - 23);
}

// Every 997th float32 there is, of both signs: denormals, infinities and NaNs among them.
TEST(VectorMath, IsAccurateOverTheWholeRange) {
  for (const Function& f : functions) {
    double worst = 0;
    float at = 0;
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 997) {
      const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
      const double error = ulps(f.ours(x), f.exact(x));
      if (error > worst) {
        worst = error;
        at = x;
      }
    }
    RecordProperty(f.name, std::to_string(worst));
    EXPECT_LE(worst, f.max_ulps) << f.name << " at " << at;
  }
}

TEST(VectorMath, SpecialValues) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Function& f : functions) EXPECT_TRUE(std::isnan(f.ours(nan))) << f.name;
  EXPECT_EQ(math::exp(inf), inf);
  EXPECT_EQ(math::exp(-inf), 0.0f);
  EXPECT_EQ(math::exp(0.0f), 1.0f);
  EXPECT_EQ(math::exp(88.8f), inf);
  EXPECT_EQ(math::exp(-104.0f), 0.0f);
  EXPECT_GT(math::exp(-103.0f), 0.0f);
  EXPECT_EQ(math::log(0.0f), -inf);
  EXPECT_EQ(math::log(-0.0f), -inf);
  EXPECT_EQ(math::log(1.0f), 0.0f);
  EXPECT_EQ(math::log(inf), inf);
  EXPECT_TRUE(std::isnan(math::log(-1.0f)));
  EXPECT_TRUE(std::isnan(math::log(-inf)));
  EXPECT_EQ(math::tanh(inf), 1.0f);
  EXPECT_EQ(math::tanh(-inf), -1.0f);
  EXPECT_TRUE(std::signbit(math::tanh(-0.0f)));
  EXPECT_EQ(math::erf(inf), 1.0f);
  EXPECT_EQ(math::erf(-inf), -1.0f);
  EXPECT_TRUE(std::signbit(math::erf(-0.0f)));
  EXPECT_EQ(math::sigmoid(0.0f), 0.5f);
  EXPECT_EQ(math::sigmoid(-inf), 0.0f);
  EXPECT_EQ(math::sigmoid(inf), 1.0f);
}

TEST(VectorMath, DoublesAreLibms) {
  EXPECT_EQ(math::exp(0.3), std::exp(0.3));
  EXPECT_EQ(math::log(0.3), std::log(0.3));
  EXPECT_EQ(math::tanh(0.3), std::tanh(0.3));
  EXPECT_EQ(math::erf(0.3), std::erf(0.3));
  EXPECT_DOUBLE_EQ(math::sigmoid(-0.3), 1 / (1 + std::exp(0.3)));
}

}  // namespace
}  // namespace plinth::kernels
