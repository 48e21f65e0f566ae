// Ranks that train together, each a process of its own, against one process: the same files.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "models/tensor_files.h"
#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kEight = {"train.micro_batch=1", "model.dim=32", "model.layers=2"};

// Trains on so many ranks, into run.directory=`run`.
Outcome train_ranks(const Workplace& here, int ranks, const std::string& run,
                    const std::vector<std::string>& more = {}) {
  return here.pretrain_on(ranks, joined(joined(kEight, {"run.directory=" + run}), more));
}

void expect_same_files(const Workplace& here, const std::string& run, const std::string& step) {
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "ema.safetensors"}) {
    EXPECT_EQ(read_text_file(here / run / step / file),
              read_text_file(here / "alone" / step / file))
        << run << " " << file;
  }
}

TEST(LaunchedPretrain, AnyNumberOfRanksWritesTheFilesOfOneProcess) {
  const Workplace here;
  ASSERT_EQ(train_ranks(here, 0, "alone").status, 0);
  const Outcome two = train_ranks(here, 2, "two");
  ASSERT_EQ(two.status, 0) << two.errors;
  EXPECT_THAT(two.output, HasSubstr("2 ranks over gloo (dp 2), 4 micro-batches a step each"));
  expect_same_files(here, "two", "step-000012");
  const Outcome four = train_ranks(here, 4, "four", {"parallel.zero=1"});
  ASSERT_EQ(four.status, 0) << four.errors;
  expect_same_files(here, "four", "step-000012");
}

TEST(LaunchedPretrain, AnotherNumberOfRanksGoesOnFromACheckpoint) {
  const Workplace here;
  ASSERT_EQ(train_ranks(here, 0, "alone").status, 0);
  ASSERT_EQ(train_ranks(here, 4, "parts", {"parallel.zero=1"}).status, 0);
  for (const char* later : {"step-000008", "step-000012"})
    std::filesystem::remove_all(here / "parts" / later);
  const Outcome on = train_ranks(here, 2, "parts", {"--resume"});
  ASSERT_EQ(on.status, 0) << on.errors;
  EXPECT_THAT(on.output + on.errors, HasSubstr("resumed after step 4"));
  expect_same_files(here, "parts", "step-000012");
}

// The largest difference between two files' tensors, which have the same names and shapes.
double distance(const std::filesystem::path& a, const std::filesystem::path& b) {
  const nn::StateDict found = read_tensors(a), expected = read_tensors(b);
  EXPECT_EQ(found.size(), expected.size());
  double most = 0;
  for (const auto& [name, tensor] : expected) {
    const Tensor other = nn::find(found, name);
    if (!other.defined() || other.shape() != tensor.shape()) {
      ADD_FAILURE() << name << " is missing, or has another shape";
      continue;
    }
    most = std::max(most, amax(abs(other - tensor)).item());
  }
  return most;
}

// By SGD, whose updates are as exact as their gradients: sums in another order differ by about
// 1e-7 of what they add up. A checkpoint of tensor-parallel ranks is then gone on from by
// context-parallel ones.
TEST(LaunchedPretrain, SharedModelsComeToTheWeightsOfOneProcess) {
  constexpr double kRounding = 1e-5;
  const Workplace here;
  const auto with = [](std::vector<std::string> more) {
    for (const char* word :
         {"optimizer.name=sgd", "optimizer.lr=0.5", "sample.every=2", "schedule.name=constant",
          "model.heads=3", "model.dim=24", "train.steps=4", "checkpoint.every=2"})
      more.emplace_back(word);
    return more;
  };
  ASSERT_EQ(train_ranks(here, 0, "alone", with({})).status, 0);
  const Outcome parts = train_ranks(
      here, 4, "parts", with({"parallel.tp=2", "parallel.sequence=true", "parallel.zero=1"}));
  ASSERT_EQ(parts.status, 0) << parts.errors;
  EXPECT_THAT(parts.output, HasSubstr("4 ranks over gloo (dp 2, tp 2)"));
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "ema.safetensors"}) {
    EXPECT_LT(distance(here / "parts/step-000004" / file, here / "alone/step-000004" / file),
              kRounding)
        << file;
  }
  std::filesystem::remove_all(here / "parts/step-000004");
  const Outcome on = train_ranks(here, 2, "parts",
                                 with({"--resume", "parallel.cp=2", "parallel.cp_algorithm=ring"}));
  ASSERT_EQ(on.status, 0) << on.errors;
  EXPECT_THAT(on.output + on.errors, HasSubstr("resumed after step 2"));
  EXPECT_LT(distance(here / "parts/step-000004/model.safetensors",
                     here / "alone/step-000004/model.safetensors"),
            kRounding);
}

// Where each rank has slices of parts of the weights, the first one has all for a text.
TEST(LaunchedPretrain, SlicesOfSharedModelsWriteTexts) {
  const Workplace here;
  const Outcome outcome =
      train_ranks(here, 4, "slices",
                  {"parallel.tp=2", "parallel.zero=3", "sample.every=2", "train.steps=2",
                   "checkpoint.every=0", "model.heads=3", "model.dim=24"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto state = nlohmann::json::parse(read_text_file(here / "slices/step-000002/state.json"));
  EXPECT_EQ(state.at("samples").size(), 2);
}

// Rank 0 has the store in which the others would look for who is missing.
TEST(LaunchedPretrain, AStoppedRankEndsTheOthersAtTheDeadline) {
  for (const int stopped : {0, 1}) {
    const Workplace here;
    std::vector<std::string> arguments = {"launch", "--nproc", "2", "--timeout", "1", "--"};
    for (const std::string& word : Workplace::pretrain_arguments(
             {"train.steps=1000000", "sample.every=0", "parallel.timeout_s=2"}))
      arguments.push_back(word);
    PlinthProcess launcher(here.path(), arguments);
    ASSERT_TRUE(PlinthProcess::wait_until_written(here / "run/step-000004/model.safetensors"));
    const std::vector<pid_t> ranks = children_of(launcher.pid());
    ASSERT_EQ(ranks.size(), 2);
    const auto start = std::chrono::steady_clock::now();
    ::kill(ranks[stopped], SIGSTOP);
    const Outcome outcome = launcher.wait();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.errors,
                testing::ContainsRegex(detail::concat("(lost|for) rank ", stopped, "|; rank ",
                                                      stopped, " may be stopped")));
    EXPECT_THAT(outcome.errors, HasSubstr(detail::concat("rank ", 1 - stopped, " ended with")));
  }
}

TEST(LaunchedPretrain, RefusesMicroBatchesThatRanksCannotShare) {
  const Workplace here;
  const Outcome outcome = train_ranks(here, 3, "three");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(
      outcome.errors,
      HasSubstr("train.micro_batch: gives 8 micro-batches a step, takes a multiple of the 3 "
                "ranks"));
}

}  // namespace
}  // namespace plinth
