// --profile, as a user asks for it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

std::multiset<std::string> slices(const Json& trace) {
  std::multiset<std::string> names;
  for (const Json& event : trace["traceEvents"])
    if (event["ph"] == "X") names.insert(event["name"]);
  return names;
}

bool has_trace(const Workplace& here) {
  return std::filesystem::exists(here / "trace.json");
}

TEST(Profile, PretrainWritesTheStepsOfTheWindow) {
  const Workplace here;
  const Outcome outcome =
      here.pretrain({"train.steps=4", "--profile", "trace.json", "--profile-steps", "2:3"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto names = slices(Json::parse(read_text_file(here / "trace.json")));
  EXPECT_EQ(names.count("train_step"), 2);
  EXPECT_EQ(names.count("backward"), 4);  // 8 samples are two micro-batches
  EXPECT_EQ(names.count("optimizer_step"), 2);
  EXPECT_EQ(names.count("block0.attention"), 4);
  for (const char* op : {"linear", "attention", "attention_backward", "linear_cross_entropy",
                         "linear_backward", "bias_gelu", "embedding", "accumulate_grad"})
    EXPECT_GT(names.count(op), 0) << op;
  EXPECT_EQ(names.count("validate"), 0);
  EXPECT_THAT(outcome.errors, HasSubstr("profile of 2 steps, in trace.json"));
  EXPECT_THAT(outcome.errors,
              testing::ContainsRegex("\nlinear_backward +[0-9]+ +[0-9.]+ +[0-9.]+ "));
  EXPECT_THAT(outcome.output, HasSubstr("trained 4 steps"));
}

TEST(Profile, GenerateAndEvalHaveItToo) {
  const Workplace here;
  ASSERT_EQ(here.pretrain({"train.steps=2"}).status, 0);
  Outcome outcome = here.run({"generate", "run", "--tokens", "3", "--ignore-stop", "--profile",
                              "trace.json", "--profile-steps", "1:2"});
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(slices(Json::parse(read_text_file(here / "trace.json"))).count("generate_token"), 2);
  outcome = here.run({"eval", "run", "--data", "data/validation_00000.bin", "--windows", "2",
                      "--json", "--profile", "trace.json", "--profile-steps", "1:1"});
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(slices(Json::parse(read_text_file(here / "trace.json"))).count("evaluate_batch"), 1);
  EXPECT_TRUE(Json::accept(outcome.output)) << outcome.output;
}

TEST(Profile, ARunWithoutSuchAStepSaysSoAndWritesNothing) {
  const Workplace here;
  const Outcome outcome =
      here.pretrain({"train.steps=2", "--profile", "trace.json", "--profile-steps", "5:6"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.errors, HasSubstr("no step within 5:6"));
  EXPECT_FALSE(has_trace(here));
}

TEST(Profile, ARunThatFailsLeavesNoTrace) {
  const Workplace here;
  const Outcome outcome = here.pretrain(
      {"optimizer.name=sgd", "optimizer.lr=100", "train.clip_norm=0", "train.steps=400",
       "train.max_bad_steps=3", "train.ema_decay=0", "sample.every=0", "--profile", "trace.json"});
  EXPECT_EQ(outcome.status, 1) << outcome.errors;
  EXPECT_FALSE(has_trace(here));
}

TEST(Profile, WrongOptionsAreToldBeforeTheWork) {
  const Workplace here;
  for (const char* steps : {"", "3", "3:", ":3", "3:2", "0:2", "a:b", "1:2:3"}) {
    const Outcome outcome = here.pretrain({"--profile", "trace.json", "--profile-steps", steps});
    EXPECT_EQ(outcome.status, 2) << steps;
    EXPECT_EQ(std::ranges::count(outcome.errors, '\n'), 1) << outcome.errors;
  }
  EXPECT_EQ(here.pretrain({"--profile-steps", "1:2"}).status, 2);  // of what?
  EXPECT_EQ(here.pretrain({"--profile", "nowhere/trace.json"}).status, 1);
  const Outcome both = here.pretrain({"--profile", "trace.json", "--nvtx"});
  EXPECT_EQ(both.status, 2);
  EXPECT_FALSE(std::filesystem::exists(here / "run"));
}

}  // namespace
}  // namespace plinth
