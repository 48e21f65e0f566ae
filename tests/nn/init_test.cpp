#include "nn/init.h"

#include <algorithm>

#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::HasSubstr;

const kernels::PhiloxKey kKey = init::key_of(1, "weight");

struct Moments {
  double mean, stddev, low, high;
};

Moments moments_of(const Initializer& initializer, const Shape& shape) {
  Tensor tensor = zeros(shape);
  initializer(tensor, kKey);
  const std::vector<double> x = to_vector(tensor);
  Moments m{0, 0, x[0], x[0]};
  for (double v : x) {
    m.mean += v / static_cast<double>(x.size());
    m.low = std::min(m.low, v);
    m.high = std::max(m.high, v);
  }
  for (double v : x) m.stddev += (v - m.mean) * (v - m.mean) / static_cast<double>(x.size());
  m.stddev = std::sqrt(m.stddev);
  return m;
}

TEST(Init, VariancesFollowThePapers) {
  // Shape [out = 300, in = 200]: fans 200 and 300.
  const struct {
    std::string name;
    Initializer initializer;
    double stddev;
    double bound;  // of a uniform one
  } cases[] = {
      {"uniform", init::uniform(-0.5, 0.5), 0.5 / std::sqrt(3), 0.5},
      {"normal", init::normal(0, 0.02), 0.02, 0},
      {"xavier_uniform", init::xavier_uniform(2), 2 * std::sqrt(2.0 / 500),
       2 * std::sqrt(6.0 / 500)},
      {"xavier_normal", init::xavier_normal(), std::sqrt(2.0 / 500), 0},
      {"kaiming_uniform", init::kaiming_uniform(std::sqrt(2)), std::sqrt(2.0 / 200),
       std::sqrt(6.0 / 200)},
      {"kaiming_normal", init::kaiming_normal(1), std::sqrt(1.0 / 200), 0},
      {"uniform_fan_in", init::uniform_fan_in(), 1 / std::sqrt(600.0), 1 / std::sqrt(200.0)},
      {"residual_normal", init::residual_normal(0.02, 8), 0.02 / 4, 0},
  };
  for (const auto& c : cases) {
    const Moments m = moments_of(c.initializer, {300, 200});
    EXPECT_NEAR(m.mean / c.stddev, 0, 0.02) << c.name;
    EXPECT_NEAR(m.stddev / c.stddev, 1, 0.02) << c.name;
    if (c.bound == 0) continue;
    EXPECT_LE(std::max(m.high, -m.low), c.bound * (1 + 1e-6)) << c.name;
    EXPECT_GE(std::min(m.high, -m.low), c.bound * 0.999) << c.name;
  }
}

TEST(Init, FansCountTheReceptiveField) {
  EXPECT_NEAR(moments_of(init::kaiming_normal(1), {64, 4, 5, 5}).stddev, 0.1, 0.003);
}

TEST(Init, TruncatedNormalStaysInsideAndKeepsItsShape) {
  const Moments m = moments_of(init::trunc_normal(1, 2, -1, 3), {300, 200});
  EXPECT_GE(m.low, -1);
  EXPECT_LE(m.high, 3);
  EXPECT_NEAR(m.mean, 1, 0.02);
  // Within one standard deviation the variance is 1 - 2 phi(1) / (Phi(1) - Phi(-1)) of the whole.
  EXPECT_NEAR(m.stddev, 2 * std::sqrt(1 - 2 * 0.24197072 / 0.68268949), 0.02);
}

TEST(Init, ConstantsAreExact) {
  EXPECT_EQ(moments_of(init::ones(), {5}).mean, 1);
  EXPECT_EQ(moments_of(init::zeros(), {5}).stddev, 0);
  EXPECT_EQ(moments_of(init::constant(0.25), {5}).low, 0.25);
}

TEST(Init, KeysDifferBySeedAndName) {
  const auto first = [](const kernels::PhiloxKey& key) { return kernels::philox(key, 0, 0); };
  EXPECT_EQ(first(init::key_of(1, "a")), first(init::key_of(1, "a")));
  EXPECT_NE(first(init::key_of(1, "a")), first(init::key_of(1, "b")));
  EXPECT_NE(first(init::key_of(1, "a")), first(init::key_of(2, "a")));
}

TEST(Init, ImpossibleOnesAreRefused) {
  EXPECT_THAT(message_of([] { moments_of(init::xavier_normal(), {4}); }),
              HasSubstr("xavier_normal: the parameter has shape [4]"));
  EXPECT_THAT(message_of([] { init::trunc_normal(0, 1, 2, 2); }), HasSubstr("low < high"));
  EXPECT_THAT(message_of([] { init::trunc_normal(0, 1, 9, 10); }),
              HasSubstr("of the distribution lies in [9, 10]"));
  EXPECT_THAT(message_of([] { init::residual_normal(0.02, 0); }), HasSubstr("got 0 layers"));
}

}  // namespace
}  // namespace plinth::nn
