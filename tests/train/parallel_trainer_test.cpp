// Ranks that share a step, against a process alone: the same bits.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <thread>

#include "distributed/simulated/simulated_group.h"
#include "models/registry.h"
#include "nn/optim/adamw.h"
#include "tests/core/io/expect_error.h"
#include "tests/train/sequences.h"
#include "train/trainer.h"

namespace plinth {
namespace {

using distributed::ProcessGroup;

std::unique_ptr<LanguageModel> small_model(const std::string& type) {
  const Sequences::Options sequences;
  ModelSize size;
  size.type = type;
  size.layers = 2;
  size.dim = 32;
  size.heads = 2;
  size.context = sequences.context;
  size.vocab_size = sequences.vocabulary;
  size.dropout = type == "gpt2" || type == "bert" ? 0.1 : 0;
  return make_model(size, 3);
}

struct TrainedBits {
  std::vector<double> losses;
  std::vector<std::vector<double>> weights;
  bool operator==(const TrainedBits&) const = default;
};

TrainedBits train(const std::shared_ptr<ProcessGroup>& group, const std::string& type,
                  int64_t steps, TrainerOptions options) {
  // Ranks are threads here, and each has threads of its own.
  omp_set_num_threads(1);
  const auto model = small_model(type);
  nn::AdamW optimizer(nn::decay_matrices(*model, 0.1), {.lr = 3e-3});
  Sequences data({.batch = options.batch,
                  .rank = group ? group->rank() : 0,
                  .ranks = group ? group->size() : 1});
  options.steps = steps;
  options.seed = 4;
  options.clip_norm = 0.5;
  options.group = group;
  Trainer trainer(
      *model, [&](const Batch& batch) { return model->loss(batch[0], batch[1]); }, optimizer,
      {.kind = nn::ScheduleKind::Cosine, .peak = 3e-3, .warmup = 5, .steps = steps}, data, options);
  TrainedBits outcome;
  for (int64_t i = 0; i < steps; ++i) outcome.losses.push_back(trainer.step());
  for (const Tensor& weight : model->parameters()) outcome.weights.push_back(to_vector(weight));
  return outcome;
}

// What each rank comes to.
std::vector<TrainedBits> train_on(int ranks, const std::string& type, int64_t steps,
                                  const TrainerOptions& options) {
  const auto groups = distributed::make_simulated_groups(ranks);
  std::vector<TrainedBits> outcomes(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] { outcomes[rank] = train(groups[rank], type, steps, options); });
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

TrainerOptions eight_micro_batches() {
  TrainerOptions options;
  options.batch = 16;
  options.micro_batch = 2;
  return options;
}

class ParallelTrainer : public testing::TestWithParam<const char*> {};

TEST_P(ParallelTrainer, AnyNumberOfRanksGivesTheSameBits) {
  constexpr int64_t kSteps = 40;
  TrainerOptions options = eight_micro_batches();
  options.data_parallel.bucket_bytes = 4096;
  const TrainedBits alone = train(nullptr, GetParam(), kSteps, options);
  EXPECT_LT(alone.losses.back(), 0.7 * alone.losses.front());
  for (const bool sharded : {false, true}) {
    options.data_parallel.sharded = sharded;
    for (const int ranks : {2, 4, 8}) {
      for (const TrainedBits& outcome : train_on(ranks, GetParam(), kSteps, options))
        EXPECT_TRUE(outcome == alone) << ranks << (sharded ? " sharded" : "");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ParallelTrainer, testing::Values("gpt2", "llama", "bert"));

// The tree of 12 is 8 and 4: two ranks have 4 and 2 of it, and 2 and 4.
TEST(ParallelTraining, SharesThatAreNoSubtreesGiveTheSameBits) {
  TrainerOptions options;
  options.batch = 12;
  options.micro_batch = 1;
  const TrainedBits alone = train(nullptr, "gpt2", 5, options);
  for (const bool overlap : {false, true}) {
    options.data_parallel.overlap = overlap;
    EXPECT_TRUE(train_on(2, "gpt2", 5, options)[1] == alone);
  }
}

TEST(ParallelTraining, ExpertsGiveTheSameBits) {
  const TrainerOptions options = eight_micro_batches();
  const TrainedBits alone = train(nullptr, "mixtral", 5, options);
  EXPECT_TRUE(train_on(4, "mixtral", 5, options)[3] == alone);
}

TEST(ParallelTraining, TheLibrarysSumIsClose) {
  TrainerOptions options = eight_micro_batches();
  const TrainedBits alone = train(nullptr, "gpt2", 10, options);
  options.data_parallel.reduction = distributed::Reduction::Library;
  const TrainedBits ranks = train_on(4, "gpt2", 10, options)[2];
  EXPECT_NEAR(ranks.losses.back(), alone.losses.back(), 1e-4);
}

TEST(ParallelTraining, RefusesSharesThatAreNotEqual) {
  const auto groups = distributed::make_simulated_groups(3);
  expect_error(ErrorKind::Argument, "got 8 micro-batches a step, takes a multiple of the 3 ranks",
               [&] { train(groups[0], "gpt2", 1, eight_micro_batches()); });
}

}  // namespace
}  // namespace plinth
