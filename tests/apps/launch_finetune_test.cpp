// Ranks that fine-tune together, each a process of its own, against one process: the same files.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/apps/finetune_workplace.h"

namespace plinth {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

// Fine-tunes on so many ranks, into run.directory=`run`.
Outcome finetune(const FinetuneWorkplace& here, int ranks, const std::string& run,
                 const Words& more = {}) {
  Words arguments;
  if (ranks > 1) arguments = {"launch", "--nproc", std::to_string(ranks), "--"};
  for (const std::string& word :
       FinetuneWorkplace::command({"train.micro_batch=4", "run.directory=" + run}))
    arguments.push_back(word);
  arguments.insert(arguments.end(), more.begin(), more.end());
  return here.run(arguments);
}

void expect_same_run(const FinetuneWorkplace& here, const std::string& run,
                     const std::string& last = "step-000060") {
  for (const std::string& file :
       {std::string("model/model.safetensors"), last + "/optimizer.safetensors"})
    EXPECT_EQ(read_text_file(here / run / file), read_text_file(here / "alone" / file))
        << run << " " << file;
}

// The line of the weights that were kept.
std::string scores_of(const Outcome& outcome) {
  const size_t at = outcome.output.rfind("validation loss");
  return at == std::string::npos ? ""
                                 : outcome.output.substr(at, outcome.output.find('\n', at) - at);
}

TEST(LaunchedFinetune, AnyNumberOfRanksWritesTheModelOfOneProcess) {
  const FinetuneWorkplace here;
  const Outcome alone = finetune(here, 1, "alone");
  ASSERT_EQ(alone.status, 0) << alone.errors;
  const Outcome two = finetune(here, 2, "two");
  ASSERT_EQ(two.status, 0) << two.errors;
  EXPECT_THAT(two.output, HasSubstr("2 ranks over gloo"));
  EXPECT_THAT(scores_of(alone), HasSubstr("accuracy 1.0000"));
  EXPECT_EQ(scores_of(two), scores_of(alone));
  expect_same_run(here, "two");
  const Outcome four = finetune(here, 4, "four", {"parallel.zero=1"});
  ASSERT_EQ(four.status, 0) << four.errors;
  expect_same_run(here, "four");
}

TEST(LaunchedFinetune, SharesWhatIsTrainedOfAModelThatIsNotAll) {
  const Words few = {"train.steps=6", "lora.dropout=0.1"};
  for (const char* part : {"lora.rank=4", "model.train=head"}) {
    SCOPED_TRACE(part);
    const FinetuneWorkplace here;
    Words settings = few;
    settings.emplace_back(part);
    ASSERT_EQ(finetune(here, 1, "alone", settings).status, 0);
    for (const char* zero : {"0", "1"}) {
      settings.push_back(std::string("parallel.zero=") + zero);
      const Outcome shared = finetune(here, 2, zero, settings);
      ASSERT_EQ(shared.status, 0) << shared.errors;
      expect_same_run(here, zero, "step-000006");
    }
  }
}

TEST(LaunchedFinetune, AnotherNumberOfRanksGoesOnFromACheckpoint) {
  const FinetuneWorkplace here;
  const Words all = {"checkpoint.every=10", "checkpoint.keep_last=9"};
  ASSERT_EQ(finetune(here, 1, "alone", all).status, 0);
  ASSERT_EQ(finetune(here, 2, "parts", all).status, 0);
  for (const char* later : {"model", "step-000030", "step-000040", "step-000050", "step-000060"})
    std::filesystem::remove_all(here / "parts" / later);
  const Outcome on = finetune(here, 4, "parts", {all[0], all[1], "--resume", "parallel.zero=1"});
  ASSERT_EQ(on.status, 0) << on.errors;
  EXPECT_THAT(on.output + on.errors, HasSubstr("resumed after step 20"));
  expect_same_run(here, "parts");
}

TEST(LaunchedFinetune, RefusesSharesThatAreNotEven) {
  const FinetuneWorkplace here;
  const Outcome outcome = finetune(here, 3, "run");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.output + outcome.errors,
              HasSubstr("train.micro_batch: gives 4 micro-batches a step, takes a multiple of the "
                        "3 ranks"));
}

}  // namespace
}  // namespace plinth
