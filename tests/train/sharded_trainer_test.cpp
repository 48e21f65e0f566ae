// Ranks that share gradients and weights, against a process alone: the same bits, in less memory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/allocator.h"
#include "tests/core/io/expect_error.h"
#include "tests/train/sharded_ranks.h"

namespace plinth {
namespace {

using distributed::ProcessGroup;
using sharded::Sharing;

TrainerOptions micro_batches(int64_t count, int64_t samples = 1) {
  TrainerOptions options;
  options.batch = count * samples;
  options.micro_batch = samples;
  return options;
}

using Losses = std::vector<double>;
using MakeModel = std::function<std::unique_ptr<LanguageModel>()>;

MakeModel model_of(const std::string& type, bool tied = true) {
  return [=] { return sharded::small_model(type, tied); };
}

// The losses of some steps, on every rank; then those of validation.
std::vector<Losses> train(const Sharing& sharing, const MakeModel& make, int64_t steps,
                          const TrainerOptions& options) {
  std::vector<Losses> losses(sharing.ranks);
  sharded::on_ranks(sharing, [&](const std::shared_ptr<ProcessGroup>& group, int rank) {
    sharded::Run run(group, sharing, make(), options);
    for (int64_t i = 0; i < steps; ++i) losses[rank].push_back(run.trainer->step());
  });
  return losses;
}

void expect_same(const Sharing& sharing, const MakeModel& make, const TrainerOptions& options,
                 const Losses& alone) {
  const auto ranks = train(sharing, make, std::ssize(alone), options);
  for (const Losses& losses : ranks) EXPECT_EQ(losses, alone) << sharded::describe(sharing);
}

class ShardedTrainer : public testing::TestWithParam<const char*> {};

// Eight micro-batches: four, two or one a rank.
TEST_P(ShardedTrainer, AnyNumberOfRanksGivesTheSameBits) {
  const MakeModel make = model_of(GetParam());
  const TrainerOptions options = micro_batches(8, 2);
  const Losses alone = train({}, make, 16, options)[0];
  EXPECT_LT(alone.back(), 0.9 * alone.front());
  for (const int64_t zero : {2, 3}) {
    for (const int ranks : {2, 4, 8}) expect_same({ranks, zero}, make, options, alone);
  }
}

// What the tree of 12 adds is no whole subtree of a round of three or six.
TEST_P(ShardedTrainer, RoundsThatAreNoSubtreesGiveTheSameBits) {
  const MakeModel make = model_of(GetParam());
  const TrainerOptions options = micro_batches(12);
  const Losses alone = train({}, make, 4, options)[0];
  for (const int64_t zero : {2, 3}) {
    for (const int ranks : {3, 6}) expect_same({ranks, zero}, make, options, alone);
  }
}

TEST_P(ShardedTrainer, ReplicasOfShardsGiveTheSameBits) {
  const MakeModel make = model_of(GetParam());
  const TrainerOptions options = micro_batches(12);
  const Losses alone = train({}, make, 4, options)[0];
  for (const Sharing& sharing : {Sharing{4, 2, 2}, Sharing{4, 3, 2}, Sharing{6, 3, 3},
                                 Sharing{6, 3, 2}, Sharing{4, 3, 1}, Sharing{12, 2, 4}})
    expect_same(sharing, make, options, alone);
}

INSTANTIATE_TEST_SUITE_P(Models, ShardedTrainer, testing::Values("gpt2", "llama", "bert"));

TEST(ShardedTraining, UntiedWeightsNarrowProductsAndCheckpointedActivations) {
  const MakeModel make = [] {
    auto model = sharded::small_model("gpt2", false);
    model->set_activation_checkpointing(true);
    return model;
  };
  TrainerOptions options = micro_batches(4);
  options.precision = DType::BFloat16;
  const Losses alone = train({}, make, 6, options)[0];
  for (const int64_t zero : {2, 3}) expect_same({4, zero}, make, options, alone);
}

// A run with a moving average, whose validation uses it.
TEST(ShardedTraining, ValidationOfAveragedWeights) {
  TrainerOptions options = micro_batches(4);
  options.ema_decay = 0.9;
  options.steps = 6;
  options.validate_every = 2;
  const auto validation = [&](const Sharing& sharing) {
    std::vector<Losses> losses(sharing.ranks);
    sharded::on_ranks(sharing, [&](const std::shared_ptr<ProcessGroup>& group, int rank) {
      sharded::Run run(group, sharing, sharded::small_model("llama"), options);
      run.trainer->run();
      losses[rank] = run.validation_losses;
    });
    return losses;
  };
  const Losses alone = validation({})[0];
  ASSERT_EQ(alone.size(), 3);
  for (const int64_t zero : {2, 3}) {
    for (const Losses& losses : validation({4, zero})) EXPECT_EQ(losses, alone) << zero;
  }
}

// All ranks' memory, since they are threads of one process, while they train a model of which the
// parameters are by far the most.
int64_t peak_of(const Sharing& sharing) {
  const MakeModel make = [] {
    ModelSize size;
    size.type = "llama";
    size.layers = 10;
    size.dim = 64;
    size.heads = 2;
    size.context = sharded::kContext;
    size.vocab_size = sharded::kVocabulary;
    return make_model(size, 3);
  };
  Allocator& memory = allocator(Device{});
  const int64_t before = memory.stats().allocated;
  // What counts is a step, not the start, at which every rank has the whole model.
  int64_t peak = 0;
  sharded::on_ranks(sharing, [&](const std::shared_ptr<ProcessGroup>& group, int rank) {
    sharded::Run run(group, sharing, make(), micro_batches(8));
    run.trainer->step();
    group->barrier().wait();
    if (rank == 0) memory.reset_peak();
    group->barrier().wait();
    run.trainer->step();
    group->barrier().wait();
    if (rank == 0) peak = memory.stats().peak_allocated - before;
    group->barrier().wait();
  });
  return peak;
}

TEST(ShardedTraining, EachStageTakesLessMemory) {
  const int64_t whole = peak_of({4, 0}), optimizer = peak_of({4, 1});
  const int64_t gradients = peak_of({4, 2}), parameters = peak_of({4, 3});
  EXPECT_LT(optimizer, whole);
  EXPECT_LT(gradients, 0.75 * optimizer);
  EXPECT_LT(parameters, 0.85 * gradients);
  RecordProperty("peaks", detail::concat(whole, " ", optimizer, " ", gradients, " ", parameters));
}

TEST(ShardedTraining, RefusesWhatRanksCannotShare) {
  const auto groups = distributed::make_simulated_groups(3);
  const auto begin = [&](const Sharing& sharing, const TrainerOptions& options) {
    sharded::Run(groups[0], sharing, sharded::small_model("gpt2"), options);
  };
  expect_error(ErrorKind::Argument, "got 8 micro-batches a step, takes a multiple of the 3 ranks",
               [&] {
                 begin({3, 3}, micro_batches(8));
               });
  expect_error(ErrorKind::Argument, "dp_shard got 2, takes a divisor of the 3 ranks", [&] {
    begin({3, 3, 2}, micro_batches(6));
  });
  const auto model = sharded::small_model("gpt2");
  nn::AdamW optimizer(nn::decay_matrices(*model, 0.1), {.lr = 3e-3});
  expect_error(ErrorKind::Argument, "stage got 1, takes 2 or 3",
               [&] { distributed::ShardedTraining(groups[0], *model, optimizer, {.stage = 1}); });
  Tensor(model->parameters()[0]).set_requires_grad(false);
  expect_error(ErrorKind::Argument, "parameter token_embedding.weight takes no gradient",
               [&] { distributed::ShardedTraining(groups[0], *model, optimizer, {}); });
}

}  // namespace
}  // namespace plinth
