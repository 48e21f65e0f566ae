// Processes that share weights, over Gloo, against one process: the same weights in the end.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

using testing::HasSubstr;

std::vector<std::string> pretrain(const std::string& run,
                                  const std::vector<std::string>& more = {}) {
  std::vector<std::string> settings = {"train.micro_batch=1", "model.dim=48", "model.layers=3",
                                       "model.heads=3", "run.directory=" + run};
  settings.insert(settings.end(), more.begin(), more.end());
  return Workplace::pretrain_arguments(settings);
}

std::vector<std::string> launch_ranks(int ranks, const std::vector<std::string>& command) {
  std::vector<std::string> arguments = {"launch", "--nproc", std::to_string(ranks), "--"};
  arguments.insert(arguments.end(), command.begin(), command.end());
  return arguments;
}

void expect_whole(const Workplace& here, const std::vector<std::string>& convert,
                  const std::string& out, const std::string& expected) {
  const Outcome converted = here.run(convert);
  ASSERT_EQ(converted.status, 0) << converted.errors;
  EXPECT_EQ(read_text_file(here / out / "model.safetensors"),
            read_text_file(here / expected / "model.safetensors"));
  EXPECT_EQ(read_text_file(here / out / "tokenizer.json"),
            read_text_file(here / expected / "tokenizer.json"));
}

TEST(LaunchedSharding, WritesPartsThatConvertToTheWeightsOfOneProcess) {
  const Workplace here;
  ASSERT_EQ(here.run(pretrain("alone")).status, 0);
  const Outcome four = here.run(launch_ranks(4, pretrain("four", {"parallel.zero=3"})));
  ASSERT_EQ(four.status, 0) << four.errors;
  EXPECT_TRUE(std::filesystem::exists(here / "four/step-000012/shard-00003-of-00004.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(here / "four/step-000012/model.safetensors"));
  expect_whole(here, {"convert", "four", "out"}, "out", "alone/step-000012");

  const auto evaluated = [&](const std::string& run) {
    return here.run({"eval", run, "--data", "data/validation_*.bin", "--average", "--json"}).output;
  };
  EXPECT_THAT(evaluated("four"), HasSubstr("\"loss\": "));
  EXPECT_EQ(evaluated("four"), evaluated("alone"));
  EXPECT_THAT(here.run({"inspect", "four"}).output, HasSubstr("shards      4, "));

  // From the middle, on two ranks that hold their weights whole.
  for (const char* later : {"step-000008", "step-000012"})
    std::filesystem::remove_all(here / "four" / later);
  const Outcome on = here.run(launch_ranks(2, pretrain("four", {"parallel.zero=1", "--resume"})));
  ASSERT_EQ(on.status, 0) << on.errors;
  EXPECT_THAT(on.output + on.errors, HasSubstr("resumed after step 4"));
  expect_whole(here, {"convert", "four", "on"}, "on", "alone/step-000012");

  const Outcome there = here.run({"convert", "four", "on"});
  EXPECT_NE(there.status, 0);
  EXPECT_THAT(there.errors, HasSubstr("on: exists already"));
}

// Ranks that read what they keep, of files that one process or several have written.
TEST(LaunchedSharding, BeginsWithWeightsThatNoRankHasWhole) {
  const Workplace here;
  ASSERT_EQ(here.run(pretrain("whole")).status, 0);
  ASSERT_EQ(here.run(launch_ranks(4, pretrain("slices", {"parallel.zero=3"}))).status, 0);
  int runs = 0;
  for (const char* from : {"whole", "slices"}) {
    for (const std::vector<std::string>& layout : std::vector<std::vector<std::string>>{
             {"parallel.zero=3"}, {"parallel.zero=2", "parallel.tp=2"}, {"parallel.pp=2"}}) {
      SCOPED_TRACE(from + testing::PrintToString(layout));
      const std::string run = "run" + std::to_string(++runs);
      std::vector<std::string> settings = {std::string("model.init_from=") + from, "train.steps=1",
                                           "schedule.warmup_steps=0", "optimizer.lr=0"};
      settings.insert(settings.end(), layout.begin(), layout.end());
      const Outcome outcome = here.run(launch_ranks(4, pretrain(run, settings)));
      ASSERT_EQ(outcome.status, 0) << outcome.errors;
      expect_whole(here, {"convert", run, "of_" + run}, "of_" + run, "whole/step-000012");
    }
  }
}

TEST(LaunchedSharding, RefusesSettingsThatDoNotFit) {
  const Workplace here;
  const auto expect_refused = [&](const std::vector<std::string>& settings, const char* text) {
    const Outcome outcome = here.run(launch_ranks(2, pretrain("run", settings)));
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.errors, HasSubstr(text));
  };
  expect_refused({"parallel.dp_shard=2"},
                 "parallel.dp_shard: got 2, goes with parallel.zero 2 or 3");
  expect_refused({"parallel.zero=2", "parallel.dp_shard=3"},
                 "parallel.dp_shard: got 3, takes a divisor of the 2 ranks");
  expect_refused({"parallel.zero=3", "parallel.reduction=library"},
                 "parallel.reduction: got library, takes tree with parallel.zero 3");
}

}  // namespace
}  // namespace plinth
