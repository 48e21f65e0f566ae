#include "data/loader/masking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <vector>

#include "data/loader/sample_source.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

constexpr int64_t kVocabulary = 1000, kMask = 999;

struct Masked {
  std::vector<int64_t> ids, targets;
  bool operator==(const Masked&) const = default;
};

Masked mask(const MaskingOptions& options, int64_t sample, const std::vector<int64_t>& tokens) {
  const TokenMasker masker(options);
  Masked masked;
  masked.ids.resize(tokens.size() + static_cast<size_t>(masker.added()));
  masked.targets.resize(masked.ids.size());
  masker.mask(sample, tokens, masked.ids.data(), masked.targets.data());
  return masked;
}

int64_t predicted(const Masked& masked) {
  return std::ssize(masked.targets) - std::ranges::count(masked.targets, kIgnoredTarget);
}

std::vector<int64_t> counting(int64_t count) {
  std::vector<int64_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

TEST(TokenMasker, PredictsTheSameNumberOfEverySequence) {
  const MaskingOptions options{.mask_token = kMask, .vocab_size = kVocabulary, .seed = 3};
  for (const auto& [length, count] : {std::pair{1, 1}, {3, 1}, {10, 2}, {100, 15}, {512, 77}}) {
    for (int64_t sample = 0; sample < 50; ++sample)
      EXPECT_EQ(predicted(mask(options, sample, counting(length))), count) << length;
  }
}

TEST(TokenMasker, ReplacesMostByTheMaskAndSomeByAnyToken) {
  const MaskingOptions options{.mask_token = kMask, .vocab_size = kVocabulary, .seed = 3};
  const std::vector<int64_t> tokens = counting(512);
  double masked = 0, kept = 0, other = 0;
  std::map<size_t, int> times;
  for (int64_t sample = 0; sample < 200; ++sample) {
    const auto [ids, targets] = mask(options, sample, tokens);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (targets[i] == kIgnoredTarget) {
        ASSERT_EQ(ids[i], tokens[i]);
        continue;
      }
      ASSERT_EQ(targets[i], tokens[i]);
      ASSERT_TRUE(ids[i] >= 0 && ids[i] < kVocabulary);
      ++times[i];
      ++(ids[i] == kMask ? masked : ids[i] == tokens[i] ? kept : other);
    }
  }
  const double all = masked + kept + other;
  EXPECT_EQ(all, 200 * 77);
  EXPECT_NEAR(masked / all, 0.8, 0.015);
  EXPECT_NEAR(kept / all, 0.1, 0.01);
  EXPECT_NEAR(other / all, 0.1, 0.01);
  // Every position, about as often: 200 * 0.15 times.
  EXPECT_EQ(times.size(), tokens.size());
  for (const auto& [position, count] : times) EXPECT_NEAR(count, 30, 25) << position;
}

TEST(TokenMasker, DependsOnSeedStreamAndSampleAlone) {
  const MaskingOptions options{.mask_token = kMask, .vocab_size = kVocabulary, .seed = 3};
  MaskingOptions other_seed = options, other_stream = options;
  other_seed.seed = 4;
  other_stream.stream = 1;
  const std::vector<int64_t> tokens = counting(64);
  const Masked masked = mask(options, 7, tokens);
  EXPECT_EQ(masked, mask(options, 7, tokens));
  EXPECT_NE(masked, mask(options, 8, tokens));
  EXPECT_NE(masked, mask(other_seed, 7, tokens));
  EXPECT_NE(masked, mask(other_stream, 7, tokens));
}

TEST(TokenMasker, PutsTokensAroundASequenceAndPredictsNoSpecialOne) {
  const MaskingOptions options{.share = 0.5,
                               .mask_token = kMask,
                               .vocab_size = kVocabulary,
                               .first = 900,
                               .last = 901,
                               .kept = {901, 7, 900}};
  const std::vector<int64_t> tokens = {7, 1, 7, 2, 7, 3};
  for (int64_t sample = 0; sample < 20; ++sample) {
    const auto [ids, targets] = mask(options, sample, tokens);
    ASSERT_EQ(ids.size(), tokens.size() + 2);
    EXPECT_EQ(ids.front(), 900);
    EXPECT_EQ(ids.back(), 901);
    for (const size_t i : {0, 1, 3, 5, 7}) EXPECT_EQ(targets[i], kIgnoredTarget) << i;
    for (const size_t i : {2, 4, 6}) EXPECT_EQ(targets[i], tokens[i - 1]) << i;
  }
  EXPECT_EQ(predicted(mask(options, 0, {7, 7})), 0);
}

TEST(TokenMasker, RefusesOptionsOutOfRange) {
  const auto refused = [](const MaskingOptions& options, const char* message) {
    expect_error(ErrorKind::Argument, message, [&] { TokenMasker{options}; });
  };
  refused({.share = 0, .vocab_size = 5}, "share is 0, takes a number between 0 and 1");
  refused({.share = 1, .vocab_size = 5}, "share is 1");
  refused({.mask_token = 5, .vocab_size = 5}, "token is 5, takes an id below the 5");
  refused({.vocab_size = 5, .first = -1}, "token is -1");
}

}  // namespace
}  // namespace plinth
