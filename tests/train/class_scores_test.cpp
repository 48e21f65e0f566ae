#include "train/finetune/class_scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace plinth {
namespace {

std::vector<std::string> names_of(const std::vector<TaskScore>& scores) {
  std::vector<std::string> names;
  for (const TaskScore& score : scores) names.push_back(score.name);
  return names;
}

TEST(ClassScores, OfManyClassesCountTheFiveBest) {
  // The labels are the largest, the fifth and the last of six.
  const TaskOutputs outputs = {{9, 1, 2, 3, 4, 5}, {5, 1, 4, 3, 2, 0}, {5, 4, 3, 2, 1, 0}};
  const std::vector<TaskScore> scores = class_scores(outputs, {0, 1, 5});
  EXPECT_EQ(names_of(scores), class_score_names(6));
  EXPECT_EQ(scores.front().value, 1.0 / 3);
  EXPECT_EQ(scores.back().name, "top5_accuracy");
  EXPECT_EQ(scores.back().value, 2.0 / 3);
}

TEST(ClassScores, OfFiveClassesAllWouldBeAmongTheBest) {
  EXPECT_EQ(names_of(class_scores({{5, 4, 3, 2, 1}}, {4})), class_score_names(5));
  EXPECT_THAT(class_score_names(5), testing::Not(testing::Contains("top5_accuracy")));
}

TEST(ClassScores, WhatIsNoNumberIsNotAmongTheBest) {
  const std::vector<double> broken(6, std::nan(""));
  EXPECT_EQ(class_scores({broken}, {0}).back().value, 0);
}

}  // namespace
}  // namespace plinth
