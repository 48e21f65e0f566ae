// Ranks with different parts of a model, each a process of its own, against one process.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

// What a cut model takes, without what adds in another order than one process.
const Words kSettings = {
    "model.layers=3", "model.tied=false",  "train.micro_batch=1",       "train.ema_decay=0",
    "sample.every=4", "train.clip_norm=0", "checkpoint.keep_best=false"};
const Words kExperts = {"model.type=mixtral", "model.dropout=0", "model.experts=3"};

Outcome train_cut(const Workplace& here, int ranks, const std::string& run,
                  const Words& more = {}) {
  return here.pretrain_on(ranks, joined(joined(kSettings, {"run.directory=" + run}), more));
}

double validation_loss(const Outcome& outcome) {
  const std::string words = "validation loss ";
  const size_t at = outcome.output.rfind(words);
  return at == std::string::npos ? 0 : std::stod(outcome.output.substr(at + words.size()));
}

// Written while training, by the first rank from all ranks' weights.
nlohmann::json texts(const Workplace& here, const std::string& run) {
  const auto state = nlohmann::json::parse(read_text_file(here / run / "step-000012/state.json"));
  EXPECT_EQ(state.at("samples").size(), 4);
  return state.at("samples");
}

// In the middle of the run other ranks take over, and write the same files.
TEST(LaunchedModelParallel, StagesWriteTheFilesOfOneProcess) {
  const Workplace here;
  ASSERT_EQ(train_cut(here, 0, "alone").status, 0);
  const Words stages = {"parallel.pp=2", "parallel.schedule=zb-h1"};
  const Outcome four = train_cut(here, 4, "cut", stages);
  ASSERT_EQ(four.status, 0) << four.errors;
  EXPECT_THAT(four.output,
              HasSubstr("4 ranks over gloo (pp 2, dp 2), 4 micro-batches a step each"));
  const auto expect_same = [&] {
    for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
      EXPECT_EQ(read_text_file(here / "cut/step-000012" / file),
                read_text_file(here / "alone/step-000012" / file))
          << file;
    }
    EXPECT_EQ(texts(here, "cut"), texts(here, "alone"));
  };
  expect_same();
  std::filesystem::remove_all(here / "cut/step-000012");
  const Outcome on =
      train_cut(here, 2, "cut", {"--resume", "parallel.pp=2", "parallel.schedule=1f1b"});
  ASSERT_EQ(on.status, 0) << on.errors;
  EXPECT_THAT(on.output + on.errors, HasSubstr("resumed after step 8"));
  expect_same();
}

TEST(LaunchedModelParallel, ExpertsAndStagesTrainAsOneProcess) {
  const Workplace here;
  const Outcome alone = train_cut(here, 0, "alone", kExperts);
  ASSERT_EQ(alone.status, 0) << alone.errors;
  const Outcome cut =
      train_cut(here, 4, "cut", joined(kExperts, {"parallel.pp=2", "parallel.ep=2"}));
  ASSERT_EQ(cut.status, 0) << cut.errors;
  EXPECT_NEAR(validation_loss(cut), validation_loss(alone), 2e-3);
  EXPECT_THAT(here.run({"inspect", "cut"}).output,
              HasSubstr("experts     3 a layer, of which a token uses 2"));
  const Outcome text = here.run({"generate", "cut", "--prompt", "the cat", "--tokens", "4"});
  EXPECT_EQ(text.status, 0) << text.errors;
}

TEST(LaunchedModelParallel, RefusesWhatDoesNotGoTogether) {
  const Workplace here;
  const auto refused = [&](int ranks, const Words& more, const char* message) {
    const Outcome outcome = train_cut(here, ranks, "refused", more);
    EXPECT_EQ(outcome.status, 2) << message;
    EXPECT_THAT(outcome.errors, HasSubstr(message));
  };
  refused(0, {"parallel.pp=2"}, "whose product takes a divisor of the 1 rank");
  refused(2, {"parallel.pp=2", "parallel.zero=2"}, "parallel.zero: got 2, takes 0 or 1 with");
  refused(2, {"parallel.ep=2"}, "parallel.ep: got 2, gpt2 has no experts");
}

}  // namespace
}  // namespace plinth
