#include "data/loader/sentence_pairs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "data/shards/shard_writer.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

constexpr int64_t kWord = 3;  // tokens: 3k begins one, 3k + 1 and 3k + 2 go on with it

std::vector<bool> continues() {
  std::vector<bool> all;
  for (int64_t id = 0; id < 3000; ++id) all.push_back(id % kWord != 0);
  return all;
}

// Tokens 0, 1, ..., so that a text tells its place.
std::shared_ptr<const TokenDataset> counting_text(int32_t count) {
  const TemporaryDirectory directory;
  ShardWriter writer(directory / "train.bin", 3000);
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(i);
  writer.append(tokens);
  writer.commit();
  return std::make_shared<const TokenDataset>(
      TokenDataset::open((directory / "train.bin").string()));
}

std::vector<int64_t> chunk(int64_t begin, int64_t size) {
  std::vector<int64_t> tokens;
  for (int64_t i = begin; i < begin + size; ++i) tokens.push_back(i);
  return tokens;
}

bool follow(std::span<const int64_t> tokens) {
  return std::ranges::adjacent_find(tokens, [](int64_t a, int64_t b) { return b != a + 1; }) ==
         tokens.end();
}

TEST(SentencePairs, AreHalfOfTextsThatFollow) {
  const SentencePairs pairs(counting_text(3000), {.continues = continues(), .seed = 5});
  std::map<int64_t, int> lengths;
  int even = 0;
  for (int64_t sample = 0; sample < 1000; ++sample) {
    const std::vector<int64_t> text = chunk(sample, 60);
    const SentencePair pair = pairs.pair(sample, text);
    ASSERT_EQ(pair.tokens.size(), text.size());
    const std::span<const int64_t> all = pair.tokens;
    const auto first = all.first(static_cast<size_t>(pair.first_length));
    const auto second = all.subspan(static_cast<size_t>(pair.first_length));
    ASSERT_FALSE(first.empty() || second.empty());
    EXPECT_TRUE(std::ranges::equal(first, std::span(text).first(first.size())));
    EXPECT_TRUE(follow(second));
    EXPECT_EQ(second.front() % kWord, 0);  // no text begins inside a word
    EXPECT_EQ(follow(all), pair.is_next);
    ++lengths[pair.first_length];
    even += sample % 2 == 0 && pair.is_next ? 1 : 0;
    const bool other = pairs.pair(sample ^ 1, chunk(sample ^ 1, 60)).is_next;
    EXPECT_NE(pair.is_next, other);
  }
  EXPECT_NEAR(even, 250, 40);  // either may come first
  EXPECT_GT(lengths.size(), 50U);
}

TEST(SentencePairs, DependOnSeedStreamAndSampleAlone) {
  const auto data = counting_text(3000);
  const SentencePairs pairs(data, {.seed = 5}), seed(data, {.seed = 6}),
      stream(data, {.seed = 5, .stream = 1});
  const std::vector<int64_t> text = chunk(100, 200);
  EXPECT_EQ(pairs.pair(7, text), pairs.pair(7, text));
  EXPECT_NE(pairs.pair(7, text), pairs.pair(9, text));
  EXPECT_NE(pairs.pair(7, text), seed.pair(7, text));
  EXPECT_NE(pairs.pair(7, text), stream.pair(7, text));
}

TEST(SentencePairs, TakeTheSmallestData) {
  const SentencePairs pairs(counting_text(3), {.continues = continues(), .seed = 5});
  for (int64_t sample = 0; sample < 20; ++sample) {
    const SentencePair pair = pairs.pair(sample, chunk(0, 2));
    EXPECT_EQ(pair.first_length, 1);
    EXPECT_EQ(pair.tokens.size(), 2U);
  }
  expect_error(ErrorKind::Argument, "got 1 tokens, takes 2 to the 3",
               [&] { pairs.pair(0, chunk(0, 1)); });
  expect_error(ErrorKind::Argument, "got 4 tokens", [&] { pairs.pair(0, chunk(0, 4)); });
}

}  // namespace
}  // namespace plinth
