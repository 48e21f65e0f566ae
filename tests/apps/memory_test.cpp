// plinth memory: what it prints, against what runs of `plinth pretrain` measure, and what it says
// of a wrong question.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Words = std::vector<std::string>;

// Nothing but two steps.
const Words kStepsAlone = {"train.steps=2",
                           "data.validation=[]",
                           "sample.every=0",
                           "checkpoint.every=0",
                           "log.report=false",
                           "log.tensorboard=false",
                           "checkpoint.keep_best=false"};

nlohmann::json dry(const Workplace& here, const Words& words) {
  const Outcome outcome =
      here.run(joined(joined({"memory", "run.toml", "--json"}, words), kStepsAlone));
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  return nlohmann::json::parse(outcome.output);
}

// The most that the allocator has given until the end of the second step.
int64_t of_run(const nlohmann::json& rank) {
  return std::max({rank["setup_bytes"].get<int64_t>(), rank["first_step_bytes"].get<int64_t>(),
                   rank["peak_bytes"].get<int64_t>()});
}

// As rank 0 of a run writes it.
int64_t measured(const Workplace& here, const std::string& run) {
  std::istringstream rows(read_text_file(here / run / "metrics.jsonl"));
  std::string row, last;
  while (std::getline(rows, row)) last = row;
  return nlohmann::json::parse(last)["memory_bytes"];
}

TEST(Memory, IsThatOfARun) {
  const Workplace here;
  const Outcome outcome = here.pretrain(kStepsAlone);
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const nlohmann::json rank = dry(here, {})["ranks"][0];
  EXPECT_EQ(of_run(rank), measured(here, "run"));
  // Of weights to start from the sizes matter alone.
  EXPECT_EQ(dry(here, {"model.init_from=run"})["ranks"][0]["peak_bytes"], rank["peak_bytes"]);
}

// Ranks that are processes, connected by Gloo.
const Words kWider = {"model.dim=32", "model.layers=2", "train.micro_batch=2", "train.ema_decay=0"};

// Where `depends`, on how long transfers take: it then lies between the least and the most.
void expect_that_of_ranks(int ranks, const Words& sharing, bool depends = false) {
  SCOPED_TRACE(testing::PrintToString(sharing));
  const Workplace here;
  const Words words = joined(kWider, sharing);
  const Outcome outcome = here.run(joined(joined({"launch", "--nproc", std::to_string(ranks), "--"},
                                                 Workplace::pretrain_arguments(words)),
                                          kStepsAlone));
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const Words question = joined({"--ranks", std::to_string(ranks), "--rank", "0"}, words);
  const int64_t most = of_run(dry(here, question)["ranks"][0]);
  const int64_t least = of_run(dry(here, joined({"--transfers", "early"}, question))["ranks"][0]);
  const int64_t real = measured(here, "run");
  EXPECT_LE(real, most);
  EXPECT_GE(real, least);
  EXPECT_TRUE(depends || least == most) << least << " to " << most;
}

TEST(Memory, IsThatOfARankOfARun) {
  expect_that_of_ranks(2, {"parallel.zero=1"});
  expect_that_of_ranks(2, {"parallel.zero=2"}, true);
  expect_that_of_ranks(2, {"parallel.zero=3"});
  expect_that_of_ranks(2, {"parallel.tp=2", "parallel.sequence=true"});
  expect_that_of_ranks(2, {"parallel.pp=2"}, true);
}

// Weights and gradients of a rank, and besides them a block, or a parameter of another's.
TEST(Memory, NoRankBeginsWithTheWholeModel) {
  const Workplace here;
  const Words large = {"model.dim=256", "model.layers=8", "model.heads=4", "train.micro_batch=2"};
  const auto setup = [&](const Words& layout) {
    const nlohmann::json ranks =
        dry(here, joined(joined({"--ranks", "4"}, large), layout))["ranks"];
    int64_t most = 0;
    for (const auto& rank : ranks) most = std::max<int64_t>(most, rank["setup_bytes"]);
    return most;
  };
  const int64_t whole = setup({});  // weights and gradients
  EXPECT_LT(setup({"parallel.zero=3"}), whole * 2 / 5);
  EXPECT_LT(setup({"parallel.tp=4"}), whole * 2 / 5);
  EXPECT_LT(setup({"parallel.pp=4"}), whole * 2 / 5);
  EXPECT_LT(setup({"parallel.tp=2", "parallel.zero=3"}), whole * 2 / 5);
}

TEST(Memory, PrintsATableAndAPicture) {
  const Workplace here;
  const Outcome outcome = here.run({"memory", "run.toml", "--ranks", "2", "--svg", "a.svg", "--top",
                                    "3", "parallel.zero=3", "sample.every=0"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, StartsWith("gpt2, "));
  EXPECT_THAT(outcome.output, HasSubstr("2 ranks, a step of 8 sequences in micro-batches of 4"));
  EXPECT_THAT(outcome.output, HasSubstr(" rank      peak, bytes"));
  EXPECT_THAT(outcome.output, HasSubstr("at its peak, in "));
  EXPECT_THAT(outcome.output, HasSubstr("more groups of tensors have"));
  const std::string picture = read_text_file(here / "a.svg");
  EXPECT_THAT(picture, StartsWith("<svg xmlns="));
  EXPECT_THAT(picture, HasSubstr("<title>activations</title>"));
  EXPECT_THAT(picture, HasSubstr("forward 1"));
}

TEST(Memory, EveryByteHasAKindAndATensor) {
  const Workplace here;
  const nlohmann::json json = dry(here, {"--ranks", "2", "parallel.zero=2"});
  ASSERT_EQ(json["ranks"].size(), 2);
  for (const nlohmann::json& rank : json["ranks"]) {
    int64_t bytes = 0;
    for (const auto& of_kind : rank["kinds"]) bytes += of_kind.get<int64_t>();
    EXPECT_EQ(bytes, rank["peak_bytes"]);
  }
  const nlohmann::json& shown = json["ranks"][json["shown"].get<size_t>()];
  int64_t bytes = 0;
  for (const nlohmann::json& tensor : json["tensors"]) bytes += tensor["bytes"].get<int64_t>();
  EXPECT_EQ(bytes, shown["peak_bytes"]);
  int64_t most = 0;
  for (const nlohmann::json& moment : json["timeline"]) {
    bytes = 0;
    for (const auto& of_kind : moment["kinds"]) bytes += of_kind.get<int64_t>();
    most = std::max(most, bytes);
  }
  EXPECT_EQ(most, shown["peak_bytes"]);
}

TEST(Memory, WrongQuestionsGetOneLine) {
  const Workplace here;
  struct Mistake {
    Words arguments;
    int status;
    const char* message;
  };
  const std::vector<Mistake> table = {
      {{}, 2, "config is required"},
      {{"no.toml"}, 1, "no.toml"},
      {{"run.toml", "model.dims=3"}, 2, "model.dim"},
      {{"run.toml", "model.dim"}, 2, "model.dim"},
      {{"run.toml", "model.heads=3"}, 2, "heads"},
      {{"run.toml", "--ranks", "0"}, 2, "--ranks"},
      {{"run.toml", "--ranks", "65"}, 2, "--ranks: got 65, takes at most 64 without --rank"},
      {{"run.toml", "--ranks", "2", "--rank", "2"}, 2, "got rank 2 of 2, takes 0 to ranks - 1"},
      {{"run.toml", "--rank", "-1"}, 2, "--rank"},
      {{"run.toml", "--ranks", "2", "--transfers", "never"}, 2, "--transfers"},
      {{"run.toml", "--top", "0"}, 2, "--top"},
      {{"run.toml", "--ranks", "3"}, 2, "train.micro_batch"},
      {{"run.toml", "parallel.tp=2"}, 2, "parallel.tp"},
      {{"run.toml", "--ranks", "2", "parallel.pp=2", "sample.every=0", "train.ema_decay=0"},
       2,
       "parallel.pp"},
      {{"run.toml", "--svg", "no/such/folder.svg"}, 1, "no/such/folder.svg"},
      {{"run.toml", "model.init_from=nowhere"}, 1, "nowhere"},
  };
  for (const Mistake& mistake : table) {
    SCOPED_TRACE(mistake.message);
    const Outcome outcome = here.run(joined({"memory"}, mistake.arguments));
    expect_one_line(outcome, mistake.status, mistake.message);
  }
}

}  // namespace
}  // namespace plinth
