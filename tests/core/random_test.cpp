#include "core/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <thread>

#include "core/error.h"
#include "core/ops/dropout.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"

namespace plinth {
namespace {

constexpr int64_t kCount = 100000;
constexpr kernels::PhiloxKey kKey{.seed = 11, .step = 3, .op = 5, .sample = 2};

double moment(const Tensor& x, double power) {
  return mean(pow(x.to(DType::Float64), power)).item();
}

// Bounds are five standard deviations of the statistic.
TEST(Random, UniformHasItsMomentsAndRange) {
  const Tensor x = uniform({kCount}, -1, 3, kKey);
  EXPECT_NEAR(mean(x).item(), 1, 5 * 4 / std::sqrt(12.0 * kCount));
  EXPECT_NEAR(var(x).item(), 16.0 / 12, 0.03);
  EXPECT_GE(amin(x).item(), -1);
  EXPECT_LT(amax(x).item(), 3);
}

TEST(Random, NormalHasItsMoments) {
  const Tensor x = normal({kCount}, 0, 1, kKey);
  const double root = std::sqrt(double(kCount));
  EXPECT_NEAR(moment(x, 1), 0, 5 / root);
  EXPECT_NEAR(moment(x, 2), 1, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(moment(x, 3), 0, 5 * std::sqrt(15.0) / root);
  EXPECT_NEAR(moment(x, 4), 3, 5 * std::sqrt(96.0) / root);
  // Beyond two standard deviations: 4.55 %.
  EXPECT_NEAR(mean(gt(abs(x), 2).to(DType::Float64)).item(), 0.0455, 5 * 0.21 / root);
  const Tensor moved = normal({kCount}, 4, 0.5, kKey);
  EXPECT_NEAR(mean(moved).item(), 4, 5 * 0.5 / root);
  EXPECT_NEAR(var(moved).item(), 0.25, 0.01);
}

TEST(Random, NeighboursAreNotCorrelated) {
  const Tensor x = normal({kCount}, 0, 1, kKey);
  for (int64_t lag : {1, 2, 4, 256}) {
    const Tensor product = x.slice(0, 0, kCount - lag) * x.slice(0, lag, kCount);
    EXPECT_NEAR(mean(product).item(), 0, 5 / std::sqrt(double(kCount))) << "lag " << lag;
  }
}

TEST(Random, NumbersAreTheSameOnAnyNumberOfThreads) {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto expected = to_vector(normal({kCount + 3}, 0, 1, kKey));
  for (int count : {2, 5}) {
    omp_set_num_threads(count);
    EXPECT_EQ(to_vector(normal({kCount + 3}, 0, 1, kKey)), expected);
  }
  omp_set_num_threads(threads);
}

TEST(Random, ALongerTensorBeginsWithTheSameNumbers) {
  const auto many = to_vector(uniform({103}, 0, 1, kKey));
  for (int64_t n : {0, 1, 2, 3, 5, 102}) {
    EXPECT_EQ(to_vector(uniform({n}, 0, 1, kKey)),
              std::vector<double>(many.begin(), many.begin() + n));
    const auto pairs = to_vector(normal({103}, 0, 1, kKey));
    EXPECT_EQ(to_vector(normal({n}, 0, 1, kKey)),
              std::vector<double>(pairs.begin(), pairs.begin() + n));
  }
}

TEST(Random, EachPartOfTheKeyChangesTheNumbers) {
  const auto numbers = [](kernels::PhiloxKey key) { return to_vector(uniform({8}, 0, 1, key)); };
  const auto base = numbers(kKey);
  kernels::PhiloxKey seed = kKey, step = kKey, op = kKey, sample = kKey;
  ++seed.seed, ++step.step, ++op.op, ++sample.sample;
  for (const kernels::PhiloxKey& key : {seed, step, op, sample}) EXPECT_NE(numbers(key), base);
  EXPECT_EQ(numbers(kKey), base);
}

TEST(Random, NarrowDtypesGetTheSameNumbersRounded) {
  const Tensor wide = normal({100}, 0, 1, kKey);
  EXPECT_EQ(to_vector(normal({100}, 0, 1, kKey, {DType::BFloat16, {}})),
            to_vector(wide.to(DType::BFloat16)));
  EXPECT_EQ(to_vector(normal({100}, 0, 1, kKey, {DType::Float64, {}})), to_vector(wide));
}

TEST(Random, OptionsOutOfRangeAreNamed) {
  try {
    normal({2}, 0, -1, kKey);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "normal: stddev is -1, expected at least 0");
  }
  try {
    uniform({2}, 1, 0, kKey);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "uniform: low is 1, expected at most high, 0");
  }
}

TEST(Generator, KeysCountOpsWithinAStep) {
  Generator source;
  source.seed(9);
  EXPECT_EQ(source.next().op, 0u);
  EXPECT_EQ(source.next().op, 1u);
  source.begin_step(4, 32);
  const kernels::PhiloxKey key = source.next();
  EXPECT_EQ(key.seed, 9u);
  EXPECT_EQ(key.step, 4u);
  EXPECT_EQ(key.op, 0u);
  EXPECT_EQ(key.sample, 32);
}

TEST(Generator, RestoredStateDrawsTheSameAgain) {
  manual_seed(5);
  rand({3});
  const kernels::PhiloxKey state = generator().state();
  const auto first = to_vector(randn({4}));
  generator().restore(state);
  EXPECT_EQ(to_vector(randn({4})), first);
}

TEST(Generator, EachThreadHasItsOwn) {
  manual_seed(5);
  rand({3});
  uint32_t op = 99;
  std::thread([&] { op = generator().next().op; }).join();
  EXPECT_EQ(op, 0u);
  EXPECT_EQ(generator().next().op, 1u);
}

// ---- dropout's masks ----

TEST(Dropout, KeepsTheExpectedShareAndScalesIt) {
  manual_seed(1);
  const Tensor y = dropout(ones({100, 1000}), 0.25);
  const auto values = to_vector(y);
  for (double v : values) EXPECT_TRUE(v == 0 || v == static_cast<float>(1 / 0.75)) << v;
  EXPECT_NEAR(mean(gt(y, 0).to(DType::Float64)).item(), 0.75, 5 * 0.433 / std::sqrt(1e5));
}

TEST(Dropout, MaskOfASampleDoesNotDependOnItsBatch) {
  manual_seed(1);
  generator().begin_step(7, 0);
  const Tensor whole = dropout(ones({4, 50}), 0.5);
  generator().begin_step(7, 2);
  const Tensor half = dropout(ones({2, 50}), 0.5);
  EXPECT_EQ(to_vector(whole.slice(0, 2, 4)), to_vector(half));
  EXPECT_NE(to_vector(whole.slice(0, 0, 2)), to_vector(half));
}

TEST(Dropout, EachCallDrawsAnotherMaskAndNoneForZero) {
  manual_seed(1);
  const Tensor x = ones({1, 200});
  EXPECT_NE(to_vector(dropout(x, 0.5)), to_vector(dropout(x, 0.5)));
  const uint32_t op = generator().state().op;
  EXPECT_TRUE(dropout(x, 0).is(x));
  EXPECT_EQ(generator().state().op, op);
}

}  // namespace
}  // namespace plinth
