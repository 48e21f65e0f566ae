#include "models/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

// How often each token is drawn at `draws` positions.
std::map<int64_t, int> frequencies(const SamplingOptions& options, const std::vector<float>& logits,
                                   int draws = 4000) {
  Sampler sampler(options);
  std::map<int64_t, int> counts;
  std::vector<int32_t> history;
  for (int i = 0; i < draws; ++i) {
    ++counts[sampler.next(logits, history)];
    history.push_back(-1);  // moves the position on, and is no token
  }
  return counts;
}

const std::vector<float> kLogits = {std::log(0.1f), std::log(0.4f), std::log(0.3f), std::log(0.2f)};

TEST(Sampler, DrawsTokensAsOftenAsTheirProbability) {
  const auto counts = frequencies({}, kLogits);
  EXPECT_NEAR(counts.at(0) / 4000.0, 0.1, 0.03);
  EXPECT_NEAR(counts.at(1) / 4000.0, 0.4, 0.03);
  EXPECT_NEAR(counts.at(2) / 4000.0, 0.3, 0.03);
  EXPECT_NEAR(counts.at(3) / 4000.0, 0.2, 0.03);
}

TEST(Sampler, TemperatureSharpensAndZeroTakesTheLargestTheLowestTokenOfEquals) {
  const auto sharp = frequencies({.temperature = 0.5}, kLogits);  // squares: 1 16 9 4 of 30
  EXPECT_NEAR(sharp.at(1) / 4000.0, 16.0 / 30, 0.03);
  const auto greedy = frequencies({.temperature = 0}, {1, 3, 3, 2}, 10);
  EXPECT_EQ(greedy, (std::map<int64_t, int>{{1, 10}}));
}

TEST(Sampler, TopKAndTopPLeaveOnlyTheLikeliest) {
  const auto k = frequencies({.top_k = 2}, kLogits);
  EXPECT_EQ(k.size(), 2u);
  EXPECT_NEAR(k.at(1) / 4000.0, 4.0 / 7, 0.03);
  EXPECT_NEAR(k.at(2) / 4000.0, 3.0 / 7, 0.03);
  const auto p = frequencies({.top_p = 0.75}, kLogits);  // 0.4 + 0.3 is not enough
  EXPECT_EQ(p.size(), 3u);
  EXPECT_EQ(p.count(0), 0u);
  EXPECT_EQ(frequencies({.top_p = 0.01}, kLogits, 50), (std::map<int64_t, int>{{1, 50}}));
  EXPECT_EQ(frequencies({.top_k = 100}, kLogits).size(), 4u);
}

TEST(Sampler, PenaltyDividesPositiveLogitsAndMultipliesNegativeOnesOfTokensSeenOnce) {
  Sampler sampler({.temperature = 0, .repetition_penalty = 2});
  const std::vector<int32_t> seen = {0, 0};
  EXPECT_EQ(sampler.next(std::vector<float>{3, 2}, seen), 1);       // 1.5 < 2
  EXPECT_EQ(sampler.next(std::vector<float>{3, 1}, seen), 0);       // once: 1.5, not 0.75
  EXPECT_EQ(sampler.next(std::vector<float>{-1, -1.5f}, seen), 1);  // -2 < -1.5
}

TEST(Sampler, DependsOnSeedAndPositionOnly) {
  const std::vector<int32_t> a = {1, 2, 3};
  const std::vector<int32_t> b = {7, 8, 9};
  std::map<int64_t, int> differences;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Sampler first({.seed = seed});
    Sampler second({.seed = seed});
    const int64_t token = first.next(kLogits, a);
    EXPECT_EQ(second.next(kLogits, b), token);
    ++differences[token];
  }
  EXPECT_GE(differences.size(), 3u);
}

TEST(Sampler, NeverTakesATokenWithoutAProbability) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(frequencies({}, {nan, 1, -infinity}, 20), (std::map<int64_t, int>{{1, 20}}));
  expect_error(ErrorKind::Argument, "none of 2 logits is a number", [&] {
    Sampler({}).next(std::vector<float>{nan, nan}, {});
  });
}

TEST(Sampler, RefusesOptionsOutOfRangeByName) {
  const auto refused = [](SamplingOptions options, const char* message) {
    expect_error(ErrorKind::Argument, message, [&] { Sampler{options}; });
  };
  refused({.temperature = -1}, "temperature got -1");
  refused({.top_k = -2}, "top_k got -2");
  refused({.top_p = 0}, "top_p got 0, takes a number above 0, at most 1");
  refused({.repetition_penalty = 0}, "repetition_penalty got 0");
}

}  // namespace
}  // namespace plinth
