#include "data/loader/span_corruption.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

constexpr int64_t kFirst = 32099, kEnd = 1;

// Words from 1000 on, no two the same.
std::vector<int64_t> text_of(int64_t count) {
  std::vector<int64_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), 1000);
  return tokens;
}

bool is_sentinel(int64_t id) {
  return id <= kFirst && id > kFirst - 100;
}

// The text: ids with each sentinel replaced by what stands behind it in the targets.
std::vector<int64_t> restored(const SpanSample& sample) {
  std::map<int64_t, std::vector<int64_t>> spans;
  int64_t sentinel = 0;
  for (const int64_t id : sample.targets) {
    if (is_sentinel(id)) {
      sentinel = id;
      spans[sentinel];
    } else if (id != kEnd) {
      spans[sentinel].push_back(id);
    }
  }
  std::vector<int64_t> text;
  for (const int64_t id : sample.ids) {
    if (is_sentinel(id)) {
      text.insert(text.end(), spans.at(id).begin(), spans.at(id).end());
    } else if (id != kEnd) {
      text.push_back(id);
    }
  }
  return text;
}

TEST(SpanCorruption, TheTextComesBack) {
  const SpanCorruptor corruptor({.seed = 5});
  for (const int64_t length : {2, 3, 7, 20, 100, 568}) {
    const std::vector<int64_t> text = text_of(length);
    for (int64_t number = 0; number < 50; ++number)
      ASSERT_EQ(restored(corruptor.corrupt(number, text)), text) << length << ", " << number;
  }
}

TEST(SpanCorruption, LosesExactlyItsShareInExactlyItsSpans) {
  const SpanCorruptor corruptor({.seed = 5});
  for (const auto& [length, lost, spans] :
       {std::tuple{2, 1, 1}, {10, 2, 1}, {100, 15, 5}, {568, 85, 28}}) {
    EXPECT_EQ(corruptor.lost(length), lost);
    EXPECT_EQ(corruptor.spans(length), spans);
    for (int64_t number = 0; number < 50; ++number) {
      const SpanSample sample = corruptor.corrupt(number, text_of(length));
      EXPECT_EQ(std::ssize(sample.ids), length - lost + spans + 1);
      EXPECT_EQ(std::ssize(sample.targets), lost + spans + 2);
      EXPECT_EQ(std::ssize(sample.ids), corruptor.ids_length(length));
      EXPECT_EQ(std::ssize(sample.targets), corruptor.targets_length(length));
      EXPECT_EQ(std::ranges::count_if(sample.ids, is_sentinel), spans);
    }
  }
}

// In ids and targets alike, one more at the end of the targets; spans are apart.
TEST(SpanCorruption, SentinelsDescend) {
  const SpanCorruptor corruptor({.seed = 5});
  for (int64_t number = 0; number < 50; ++number) {
    const SpanSample sample = corruptor.corrupt(number, text_of(200));
    EXPECT_EQ(sample.ids.back(), kEnd);
    EXPECT_EQ(sample.targets.back(), kEnd);
    int64_t next = kFirst;
    for (size_t i = 0; i < sample.ids.size(); ++i) {
      if (!is_sentinel(sample.ids[i])) continue;
      EXPECT_EQ(sample.ids[i], next--);
      ASSERT_GT(i, 0U);
      EXPECT_FALSE(is_sentinel(sample.ids[i - 1]));
    }
    int64_t target = kFirst;
    for (const int64_t id : sample.targets) {
      if (!is_sentinel(id)) continue;
      EXPECT_EQ(id, target);
      --target;
    }
    EXPECT_EQ(target, next - 1);
    EXPECT_EQ(sample.targets[sample.targets.size() - 2], next);
  }
}

TEST(SpanCorruption, DependsOnSeedStreamAndSample) {
  const std::vector<int64_t> text = text_of(300);
  const auto made = [&](uint64_t seed, uint64_t stream, int64_t sample) {
    return SpanCorruptor({.seed = seed, .stream = stream}).corrupt(sample, text);
  };
  EXPECT_EQ(made(1, 0, 7), made(1, 0, 7));
  EXPECT_NE(made(1, 0, 7), made(2, 0, 7));
  EXPECT_NE(made(1, 0, 7), made(1, 1, 7));
  EXPECT_NE(made(1, 0, 7), made(1, 0, 8));
}

// Every way to cut 5 lost tokens into 2 spans comes about as often: 1, 2, 3 or 4 in the first.
TEST(SpanCorruption, SpansAreDrawnEvenly) {
  const SpanCorruptor corruptor({.density = 0.25, .mean_span = 2.5, .seed = 9});
  ASSERT_EQ(corruptor.lost(20), 5);
  ASSERT_EQ(corruptor.spans(20), 2);
  std::map<int64_t, int> times;
  for (int64_t number = 0; number < 2000; ++number) {
    const SpanSample sample = corruptor.corrupt(number, text_of(20));
    ++times[std::ranges::find(sample.targets, kFirst - 1) - sample.targets.begin() - 1];
  }
  ASSERT_EQ(times.size(), 4U);
  // Six standard deviations of a count of 2000 draws by 1/4.
  for (const auto& [length, count] : times) EXPECT_NEAR(count, 500, 6 * std::sqrt(375.0)) << length;
}

TEST(SpanCorruption, TellsHowMuchTextFits) {
  const SpanCorruptor corruptor({});
  EXPECT_EQ(corruptor.tokens_within(512), 568);
  EXPECT_EQ(corruptor.ids_length(568), 512);
  EXPECT_GT(corruptor.ids_length(569), 512);
}

TEST(SpanCorruption, RefusesWhatItDoesNotTake) {
  const auto refused = [](const SpanCorruptionOptions& options, const char* message) {
    expect_error(ErrorKind::Argument, message, [&] { SpanCorruptor{options}; });
  };
  refused({.density = 0}, "density is 0");
  refused({.density = 1}, "density is 1, takes a number above 0 and at most 0.99");
  refused({.mean_span = 0.5}, "mean_span is 0.5, takes 1 or more");
  refused({.first_sentinel = 50}, "got 100 sentinels from 50 down");
  refused({.sentinels = 1}, "takes 2 or more");
  const SpanCorruptor corruptor({.first_sentinel = 5, .sentinels = 3});
  expect_error(ErrorKind::Argument, "got 1 tokens", [&] { corruptor.corrupt(0, text_of(1)); });
  expect_error(ErrorKind::Argument, "has 5 spans, takes fewer than the 3 sentinels",
               [&] { corruptor.corrupt(0, text_of(100)); });
  expect_error(ErrorKind::Argument, "the text has token 4, which is a sentinel", [&] {
    const std::vector<int64_t> tokens = {7, 8, 4};
    corruptor.corrupt(0, tokens);
  });
  expect_error(ErrorKind::Argument, "length is 2", [&] { corruptor.tokens_within(2); });
  expect_error(ErrorKind::Argument, "to 2147483648", [&] { corruptor.tokens_within(INT64_MAX); });
  const SpanCorruptor extreme({.density = 0.99, .mean_span = 1e300});
  EXPECT_LE(extreme.ids_length(extreme.tokens_within(int64_t{1} << 31)), int64_t{1} << 31);
}

}  // namespace
}  // namespace plinth
