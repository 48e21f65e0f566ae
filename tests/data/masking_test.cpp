#include "data/loader/masking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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

// Words of one to three tokens: 0 to 9 begin one, 10 to 19 go on with it, and 20 is kept.
MaskingOptions of_words() {
  MaskingOptions options{.share = 0.3, .mask_token = 29, .vocab_size = 30, .kept = {20}, .seed = 3};
  for (int64_t id = 0; id < 20; ++id) options.continues.push_back(id >= 10);
  return options;
}

TEST(TokenMasker, MasksWholeWords) {
  const MaskingOptions options = of_words();
  std::vector<int64_t> tokens = {11};  // what began before the sequence is a word, too
  while (tokens.size() < 200) {
    const int64_t i = std::ssize(tokens);
    tokens.push_back(i % 10);
    for (int64_t more = 0; more < i * 7 % 3; ++more) tokens.push_back(10 + (i + more) % 10);
    if (i % 11 == 0) tokens.insert(tokens.end(), {20, 12});  // a word behind a kept token
  }
  const auto most = std::llround(0.3 * static_cast<double>(tokens.size()));
  std::vector<int> times(tokens.size());
  constexpr int kSamples = 400;
  for (int64_t sample = 0; sample < kSamples; ++sample) {
    const Masked masked = mask(options, sample, tokens);
    // Single tokens fill what longer words leave.
    ASSERT_EQ(predicted(masked), most);
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool is_predicted = masked.targets[i] != kIgnoredTarget;
      times[i] += is_predicted ? 1 : 0;
      if (tokens[i] == 20) {
        ASSERT_FALSE(is_predicted);
      }
      const bool goes_on = i > 0 && tokens[i] >= 10 && tokens[i] < 20 && tokens[i - 1] != 20;
      if (goes_on) {
        ASSERT_EQ(is_predicted, masked.targets[i - 1] != kIgnoredTarget) << i;
      }
    }
  }
  // Any word about as often as another, whatever its length.
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] != 20) {
      EXPECT_NEAR(times[i], 0.32 * kSamples, 0.1 * kSamples) << i;
    }
  }
  EXPECT_EQ(mask(options, 7, tokens), mask(options, 7, tokens));
  EXPECT_NE(mask(options, 7, tokens), mask(options, 8, tokens));
}

TEST(TokenMasker, MasksOneWordAtLeastHoweverLong) {
  const MaskingOptions options = of_words();
  for (int64_t sample = 0; sample < 20; ++sample)
    EXPECT_EQ(predicted(mask(options, sample, {1, 11, 12, 20})), 3);
}

TEST(TokenMasker, RefusesOptionsOutOfRange) {
  const auto refused = [](const MaskingOptions& options, const char* message) {
    expect_error(ErrorKind::Argument, message, [&] { TokenMasker{options}; });
  };
  refused({.share = 0, .vocab_size = 5}, "share is 0, takes a number between 0 and 1");
  refused({.share = 1, .vocab_size = 5}, "share is 1");
  refused({.mask_token = 5, .vocab_size = 5}, "token is 5, takes an id below the 5");
  refused({.vocab_size = 5, .first = -1}, "token is -1");
  refused({.vocab_size = 1, .continues = {true, false}},
          "continues has 2 ids, takes at most the 1");
}

}  // namespace
}  // namespace plinth
