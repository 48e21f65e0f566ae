// Sources of batches for pretraining by other objectives than the next token: each sample is a
// function of its number, on any number of ranks, and a source goes on where it was.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/ops/factories.h"
#include "data/loader/sample_source.h"
#include "tests/core/io/expect_error.h"
#include "tests/train/layout_draw.h"
#include "train/pretrain/sentence_batches.h"
#include "train/pretrain/span_batches.h"
#include "train/sample_batches.h"

namespace plinth {
namespace {

using BatchValues = std::vector<std::vector<double>>;

std::unique_ptr<BatchSource> spans(const LoaderOptions& options) {
  LoaderOptions own = options;
  own.samples.length = 20;
  return std::make_unique<SpanBatches>(
      layouts::dataset(), own, SpanCorruptor({.first_sentinel = 40, .sentinels = 8, .seed = 3}));
}

MaskingOptions masking() {
  return {.mask_token = 29, .vocab_size = 32, .first = 30, .last = 31, .kept = {31}, .seed = 3};
}

std::unique_ptr<BatchSource> sentences(const LoaderOptions& options) {
  return std::make_unique<SentenceBatches>(layouts::dataset(), options, masking(), 16);
}

// A batch of the keys themselves.
std::unique_ptr<BatchSource> numbered(const LoaderOptions& options) {
  const auto make = [](std::span<const SampleKey> keys) {
    std::vector<int64_t> epochs, samples;
    for (const SampleKey& key : keys) {
      epochs.push_back(key.epoch);
      samples.push_back(key.sample);
    }
    return Batch{from_values(epochs, {std::ssize(epochs)}),
                 from_values(samples, {std::ssize(samples)})};
  };
  return std::make_unique<SampleBatches>(NumberedSamples{10, 77, make}, options);
}

using MakeSource = std::unique_ptr<BatchSource> (*)(const LoaderOptions&);

class Sources : public testing::TestWithParam<MakeSource> {
 protected:
  // The batches that a rank has of two steps of 4 micro-batches of 2 samples.
  static BatchValues batches(int64_t rank, int64_t ranks) {
    const LoaderOptions options{.samples = {.seed = 3},
                                .rows = 2,
                                .rank = rank,
                                .ranks = ranks,
                                .micro_batches = 4 / ranks};
    const auto source = GetParam()(options);
    BatchValues all;
    for (int64_t i = 0; i < 2 * options.micro_batches; ++i) all.push_back(flat(source->next(2)));
    return all;
  }
  static std::vector<double> flat(const Batch& batch) {
    std::vector<double> values;
    for (const Tensor& x : batch) {
      for (const double value : to_vector(x)) values.push_back(value);
    }
    return values;
  }
};

TEST_P(Sources, GiveRanksTogetherWhatOneProcessHas) {
  const BatchValues alone = batches(0, 1), first = batches(0, 2), second = batches(1, 2);
  for (size_t step = 0; step < 2; ++step) {
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(first[2 * step + i], alone[4 * step + i]);
      EXPECT_EQ(second[2 * step + i], alone[4 * step + 2 + i]);
    }
  }
  EXPECT_NE(alone[0], alone[1]);
}

TEST_P(Sources, GoOnWhereTheyWere) {
  for (const int64_t prefetch : {0, 2}) {
    const LoaderOptions options{
        .samples = {.seed = 3}, .rows = 2, .micro_batches = 3, .prefetch = prefetch};
    const auto source = GetParam()(options), other = GetParam()(options);
    for (int i = 0; i < 4; ++i) source->next(2);  // into the second step
    other->restore(source->state());
    for (int i = 0; i < 4; ++i) EXPECT_EQ(flat(other->next(2)), flat(source->next(2)));
    EXPECT_EQ(other->state(), source->state());
  }
}

TEST_P(Sources, RefuseWhatIsNotTheirs) {
  const auto source = GetParam()({.samples = {.seed = 3}, .rows = 2});
  const auto seed = GetParam()({.samples = {.seed = 4}, .rows = 2});
  expect_error(ErrorKind::Config, "seed 4", [&] { source->restore(seed->state()); });
  expect_error(ErrorKind::Format, "", [&] { source->restore("{}"); });
  expect_error(ErrorKind::Argument, "next got 3 samples, gives 2", [&] { source->next(3); });
}

std::string source_name(const testing::TestParamInfo<MakeSource>& made) {
  const std::vector<std::string> names = {"Spans", "Sentences", "Numbered"};
  return names[made.index];
}
INSTANTIATE_TEST_SUITE_P(Of, Sources, testing::Values(spans, sentences, numbered), source_name);

TEST(SpanBatches, AreWhatTheCorruptorMakes) {
  const SpanCorruptor corruptor({.first_sentinel = 40, .sentinels = 8, .seed = 3});
  const Batch batch = spans({.samples = {.seed = 3, .shuffle = false}, .rows = 2})->next(2);
  EXPECT_EQ(batch[0].shape(), Shape({2, corruptor.ids_length(20)}));
  EXPECT_EQ(batch[1].shape(), Shape({2, corruptor.targets_length(20)}));
  std::vector<int64_t> tokens(20);
  layouts::dataset()->copy(20, 40, tokens.data());
  const SpanSample second = corruptor.corrupt(1, tokens);
  EXPECT_EQ(to_vector(batch[0][1]), std::vector<double>(second.ids.begin(), second.ids.end()));
  EXPECT_EQ(to_vector(batch[1][1]),
            std::vector<double>(second.targets.begin(), second.targets.end()));
}

TEST(SentenceBatches, AreTwoTextsWithTheirSegments) {
  const auto source = sentences({.samples = {.seed = 3}, .rows = 2});
  double next = 0;
  for (int i = 0; i < 50; ++i) {
    const Batch batch = source->next(2);
    for (int64_t row = 0; row < 2; ++row) {
      const std::vector<double> ids = to_vector(batch[0][row]), segments = to_vector(batch[1][row]),
                                targets = to_vector(batch[2][row]);
      ASSERT_EQ(ids.size(), 16U);
      EXPECT_EQ(ids.front(), 30);
      EXPECT_EQ(ids.back(), 31);
      const auto first = static_cast<size_t>(std::ranges::count(segments, 0));
      EXPECT_TRUE(std::ranges::is_sorted(segments));
      EXPECT_EQ(ids[first - 1], 31);
      EXPECT_GE(first, 3U);
      EXPECT_LE(first, 14U);
      for (const size_t around : {size_t{0}, first - 1, size_t{15}})
        EXPECT_EQ(targets[around], kIgnoredTarget);
      EXPECT_EQ(std::ranges::count(targets, kIgnoredTarget), 14);  // 15 % of 14 tokens are told
    }
    // One of each kind in every two.
    const std::vector<double> labels = to_vector(batch[3]);
    EXPECT_EQ(labels[0] + labels[1], 1);
    next += labels[0];
  }
  EXPECT_NEAR(next, 25, 12);
  expect_error(ErrorKind::Config, "model.context: got 4, takes 5 or more",
               [&] { SentenceBatches(layouts::dataset(), {.rows = 2}, masking(), 4); });
  expect_error(ErrorKind::Argument, "takes a masker with [CLS] and [SEP]", [&] {
    SentenceBatches(layouts::dataset(), {.rows = 2}, {.mask_token = 29, .vocab_size = 32}, 16);
  });
}

TEST(SampleBatches, HaveEverySampleOnceAnEpoch) {
  const auto source = numbered({.samples = {.seed = 3}, .rows = 5});
  std::vector<std::vector<double>> orders;
  for (const double epoch : {0, 1}) {
    std::vector<double> order;
    for (int i = 0; i < 2; ++i) {
      const Batch batch = source->next(5);
      EXPECT_THAT(to_vector(batch[0]), testing::Each(epoch));
      for (const double sample : to_vector(batch[1])) order.push_back(sample);
    }
    orders.push_back(order);
    EXPECT_THAT(order, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  }
  EXPECT_NE(orders[0], orders[1]);
  const auto in_order = numbered({.samples = {.shuffle = false}, .rows = 5});
  EXPECT_THAT(to_vector(in_order->next(5)[1]), testing::ElementsAre(0, 1, 2, 3, 4));
  const SampleBatches others({11, 77, {}}, {.samples = {.seed = 3}, .rows = 5, .prefetch = 0});
  expect_error(ErrorKind::Config, "the run was of 11 samples of other training data than now, 10",
               [&] { source->restore(others.state()); });
  expect_error(ErrorKind::Argument, "got no samples", [] { SampleBatches({}, {}); });
}

}  // namespace
}  // namespace plinth
