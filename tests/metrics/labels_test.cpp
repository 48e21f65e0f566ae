// Metrics of labels, of pixels and of tagged words, against scikit-learn and seqeval.

#include <gmock/gmock.h>

#include <cmath>

#include "core/error.h"
#include "metrics/entities.h"
#include "metrics/segmentation.h"
#include "tests/metrics/fixture.h"

namespace plinth::metrics {
namespace {

using Labels = std::vector<int64_t>;
using Sentences = std::vector<Tags>;

TEST(Classification, AgreesWithScikitLearn) {
  for (const auto& one : read_cases("classification")) {
    const auto scores = score_classes(one["predicted"].get<Labels>(), one["actual"].get<Labels>());
    const auto& expected = one["expected"];
    expect_score(scores.accuracy, expected["accuracy"], "accuracy");
    expect_score(scores.matthews, expected["matthews"], "matthews");
    expect_f1(scores.macro, expected["macro"], "macro");
    expect_f1(scores.weighted, expected["weighted"], "weighted");
    EXPECT_EQ(scores.labels, expected["labels"].get<Labels>());
    ASSERT_EQ(scores.of_label.size(), expected["of_label"].size());
    for (size_t i = 0; i < scores.of_label.size(); ++i) {
      expect_f1(scores.of_label[i], expected["of_label"][i], "label " + std::to_string(i));
      EXPECT_EQ(scores.of_label[i].support, expected["of_label"][i][3].get<int64_t>());
    }
  }
}

TEST(Classification, TopKAgreesWithScikitLearn) {
  for (const auto& one : read_cases("top_k")) {
    const auto scores = one["scores"].get<std::vector<double>>();
    const auto actual = one["actual"].get<Labels>();
    for (const auto& [k, expected] : one["expected"].items())
      expect_score(top_k_accuracy(scores, one["classes"], actual, std::stoi(k)), expected, k);
    EXPECT_EQ(top_k_accuracy(scores, one["classes"], actual, one["classes"]), 1);
  }
}

TEST(Classification, RefusesWhatDoesNotFit) {
  EXPECT_THROW(score_classes(Labels{}, Labels{}), Error);
  EXPECT_THROW(score_classes(Labels{1}, Labels{1, 2}), Error);
  const std::vector<double> scores = {1, 2, 3, 4};
  EXPECT_THROW(top_k_accuracy(scores, 2, Labels{0}, 1), Error);
  EXPECT_THROW(top_k_accuracy(scores, 2, Labels{0, 2}, 1), Error);
  EXPECT_THROW(top_k_accuracy(scores, 2, Labels{0, 1}, 3), Error);
  EXPECT_THROW(top_k_accuracy(scores, 2, Labels{0, 1}, 0), Error);
}

TEST(Segmentation, AgreesWithScikitLearn) {
  for (const auto& one : read_cases("segmentation")) {
    std::optional<int64_t> ignored;
    if (!one["ignored"].is_null()) ignored = one["ignored"].get<int64_t>();
    SegmentationCounter counter(one["classes"], ignored);
    const auto predicted = one["predicted"].get<Labels>(), actual = one["actual"].get<Labels>();
    const std::span<const int64_t> p = predicted, a = actual;
    counter.add(p.first(p.size() / 2), a.first(p.size() / 2));
    counter.add(p.subspan(p.size() / 2), a.subspan(p.size() / 2));
    const SegmentationScores scores = counter.scores();
    const auto& expected = one["expected"];
    expect_score(scores.mean_iou, expected["mean_iou"], "mean_iou");
    expect_score(scores.pixel_accuracy, expected["pixel_accuracy"], "pixel_accuracy");
    for (size_t c = 0; c < scores.iou.size(); ++c) {
      const auto found = expected["iou"].find(std::to_string(c));
      if (found == expected["iou"].end())
        EXPECT_TRUE(std::isnan(scores.iou[c])) << c;
      else
        expect_score(scores.iou[c], *found, "iou of " + std::to_string(c));
    }
  }
}

TEST(Segmentation, RefusesWhatDoesNotFit) {
  EXPECT_THROW(SegmentationCounter(0), Error);
  SegmentationCounter counter(3, 255);
  EXPECT_THROW(counter.add(Labels{1}, Labels{}), Error);
  EXPECT_THROW(counter.add(Labels{3}, Labels{0}), Error);
  EXPECT_THROW(counter.add(Labels{0}, Labels{-1}), Error);
  counter.add(Labels{7}, Labels{255});
  EXPECT_THROW(counter.scores(), Error);
}

TEST(Entities, AgreeWithSeqeval) {
  for (const auto& one : read_cases("entities")) {
    const auto scores =
        score_entities(one["predicted"].get<Sentences>(), one["actual"].get<Sentences>());
    const auto& expected = one["expected"];
    expect_f1(scores.micro, expected["micro"], "micro");
    expect_f1(scores.macro, expected["macro"], "macro");
    expect_f1(scores.weighted, expected["weighted"], "weighted");
    ASSERT_EQ(scores.of_type.size(), expected["of_type"].size());
    for (size_t i = 0; i < scores.of_type.size(); ++i) {
      expect_f1(scores.of_type[i], expected["of_type"][i], scores.types[i]);
      EXPECT_EQ(scores.of_type[i].support, expected["of_type"][i][3].get<int64_t>());
    }
  }
}

TEST(Entities, AreWhereTheirTagsAre) {
  const Tags tags = {"I-PER", "I-PER", "B-PER", "O", "B-LOC", "I-PER", "S-LOC", "E-LOC"};
  EXPECT_THAT(entities_of(tags),
              testing::ElementsAre(Entity{"PER", 0, 2}, Entity{"PER", 2, 3}, Entity{"LOC", 4, 5},
                                   Entity{"PER", 5, 6}, Entity{"LOC", 6, 7}, Entity{"LOC", 7, 8}));
  EXPECT_THROW(entities_of({"O", ""}), Error);
  EXPECT_THROW(score_entities(Sentences{{"O"}}, Sentences{}), Error);
  EXPECT_THROW(score_entities(Sentences{{"O"}}, Sentences{{"O", "O"}}), Error);
}

}  // namespace
}  // namespace plinth::metrics
