// Ranks that have different parts of a model, against a process alone.

#include "train/model_parallel.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <thread>

#include "core/autograd.h"
#include "core/ops/factories.h"
#include "distributed/simulated/simulated_group.h"
#include "models/registry.h"
#include "nn/optim/adamw.h"
#include "nn/optim/sgd.h"
#include "tests/core/io/expect_error.h"
#include "tests/train/sequences.h"
#include "train/evaluation_mode.h"
#include "train/trainer.h"

namespace plinth {
namespace {

using distributed::PipelineKind;
using distributed::ProcessGroup;
using Group = std::shared_ptr<ProcessGroup>;

constexpr int64_t kSequenceLength = 8, kUpdates = 6;

ModelSize size_of_model(const std::string& type) {
  ModelSize size;
  size.type = type;
  size.layers = 5;
  size.dim = 16;
  size.heads = 2;
  size.context = kSequenceLength;
  size.vocab_size = Sequences::Options().vocabulary;
  size.dropout = type == "gpt2" || type == "bert" ? 0.1 : 0;
  size.experts = 5;
  return size;
}

struct StagesOutcome {
  std::vector<double> losses;  // of each step, and that of data not trained on
  nn::StateDict weights;       // on rank 0
};

struct Job {
  ModelSize size;
  ModelParallelOptions parallel = {};
  TrainerOptions trainer = {};
  bool checkpointing = false;  // of activations
  bool sgd = false;            // whose updates are as exact as their gradients; else AdamW
};

TrainerOptions trainer_options() {
  TrainerOptions options;
  options.batch = 16;
  options.micro_batch = 2;
  options.steps = kUpdates;
  options.seed = 4;
  return options;
}

nn::StateDict weights_of(const nn::Module& model) {
  nn::StateDict weights;
  for (const auto& [name, tensor] : model.named_parameters())
    weights.push_back({name, tensor.detach().clone()});
  return weights;
}

StagesOutcome train(const Job& run, const Group& group) {
  omp_set_num_threads(1);  // ranks are threads here
  const auto model = make_model(run.size, 3);
  model->set_activation_checkpointing(run.checkpointing);
  std::optional<ModelParallel> plan;
  if (group) plan.emplace(*model, group, Device{}, run.parallel);
  const double rate = run.sgd ? 0.3 : 3e-3;
  const auto groups = nn::decay_matrices(*model, 0.1);
  std::unique_ptr<nn::Optimizer> optimizer;
  if (run.sgd) {
    optimizer = std::make_unique<nn::Sgd>(groups, nn::SgdOptions{.lr = rate, .momentum = 0.9});
  } else {
    optimizer = std::make_unique<nn::AdamW>(groups, nn::AdamWOptions{.lr = rate});
  }
  if (plan) plan->make_gradients(*optimizer);
  const ProcessGroup* sharing = plan ? &plan->data_group() : nullptr;
  Sequences data({.context = kSequenceLength,
                  .batch = run.trainer.batch,
                  .rank = sharing ? sharing->rank() : 0,
                  .ranks = sharing ? sharing->size() : 1});
  TrainerOptions options = run.trainer;
  options.group = group;
  options.plan = plan ? &*plan : nullptr;
  options.shards = plan ? plan->shards() : nullptr;
  Trainer trainer(
      *model, [&](const Batch& batch) { return model->loss(batch[0], batch[1]); }, *optimizer,
      {.kind = nn::ScheduleKind::Cosine, .peak = rate, .warmup = 2, .steps = kUpdates}, data,
      options);
  StagesOutcome outcome;
  for (int64_t i = 0; i < kUpdates; ++i) outcome.losses.push_back(trainer.step());
  {
    const NoGradGuard no_grad;
    const EvaluationMode evaluation(*model);
    const Batch held_out = Sequences({.context = kSequenceLength, .batch = 5}).next(5);
    outcome.losses.push_back(
        (plan ? plan->evaluate(held_out[0], held_out[1]) : model->loss(held_out[0], held_out[1]))
            .item());
  }
  if (plan) {
    outcome.weights = plan->gather_weights();
    if (plan->shards()) outcome.weights = plan->shards()->whole(outcome.weights);
  } else {
    outcome.weights = weights_of(*model);
  }
  return outcome;
}

// What each rank comes to. The first error is thrown.
std::vector<StagesOutcome> train_on(int ranks, const Job& run) {
  const auto groups =
      distributed::make_simulated_groups(ranks, {.group = {.timeout = std::chrono::minutes(2)}});
  std::vector<StagesOutcome> outcomes(ranks);
  std::vector<std::exception_ptr> errors(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      try {
        outcomes[rank] = train(run, groups[rank]);
      } catch (const Error& error) {
        errors[rank] = std::current_exception();
        groups[rank]->abort(error.what());
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return outcomes;
}

// The largest difference of two weights' values.
double distance(const nn::StateDict& a, const nn::StateDict& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (const auto& [name, tensor] : a) {
    const std::vector<double> x = to_vector(tensor), y = to_vector(nn::find(b, name));
    if (x.size() != y.size()) return INFINITY;
    for (size_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(x[i] - y[i]));
  }
  return most;
}

constexpr auto kPlain = PipelineKind::OneForwardOneBackward;

// ---- pipelines ----

struct Stages {
  const char* name;
  int ranks;
  ModelParallelOptions parallel;
};

class PipelineTraining : public testing::TestWithParam<std::tuple<const char*, Stages>> {};

// With an untied head all additions have one process's order; the norm, which is added by stages,
// only clips. A tied embedding's gradient is added over micro-batches on each of two stages first.
TEST_P(PipelineTraining, IsOneProcess) {
  const auto& [type, stages] = GetParam();
  for (const bool tied : {false, true}) {
    Job run{size_of_model(type), stages.parallel, trainer_options()};
    run.size.tied = tied;
    run.trainer.clip_norm = tied ? 0.5 : 0;
    const StagesOutcome alone = train(run, nullptr);
    const std::vector<StagesOutcome> outcomes = train_on(stages.ranks, run);
    EXPECT_LE(distance(outcomes[0].weights, alone.weights), tied ? 1e-5 : 0) << "tied " << tied;
    for (const StagesOutcome& outcome : outcomes) {
      for (int64_t i = 0; i <= kUpdates; ++i)
        EXPECT_NEAR(outcome.losses[i], alone.losses[i], tied ? 1e-5 : 0) << "step " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Schedules, PipelineTraining,
    testing::Combine(
        testing::Values("gpt2", "llama", "bert"),
        testing::Values(
            Stages{"plain_2", 2, {.sizes = {.pp = 2}}}, Stages{"plain_4", 4, {.sizes = {.pp = 4}}},
            Stages{"plain_2_dp_2", 4, {.sizes = {.pp = 2}}},
            Stages{"plain_4_dp_2", 8, {.sizes = {.pp = 4}}},
            Stages{
                "plain_2_dp_2_zero", 4, {.sizes = {.pp = 2}, .data_parallel = {.sharded = true}}},
            Stages{"interleaved_2",
                   2,
                   {.sizes = {.pp = 2}, .schedule = PipelineKind::Interleaved, .chunks = 2}},
            Stages{"interleaved_2_dp_2",
                   4,
                   {.sizes = {.pp = 2}, .schedule = PipelineKind::Interleaved, .chunks = 2}},
            Stages{"zb_2", 2, {.sizes = {.pp = 2}, .schedule = PipelineKind::ZeroBubbleH1}},
            Stages{"zb_4_dp_2", 8, {.sizes = {.pp = 4}, .schedule = PipelineKind::ZeroBubbleH1}})),
    [](const auto& info) {
      return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param).name;
    });

// Activations are computed again beside what other stages compute, and tokens sent again.
TEST(ModelParallelTraining, ActivationCheckpointingGivesTheSameBits) {
  Job stages{size_of_model("gpt2"), {.sizes = {.pp = 2}}, trainer_options()};
  Job experts{size_of_model("mixtral"), {.sizes = {.ep = 2}}, trainer_options()};
  for (Job* run : {&stages, &experts}) {
    const StagesOutcome kept = train_on(2, *run)[0];
    run->checkpointing = true;
    const StagesOutcome computed = train_on(2, *run)[0];
    EXPECT_EQ(distance(computed.weights, kept.weights), 0) << run->size.type;
    EXPECT_EQ(computed.losses, kept.losses) << run->size.type;
  }
}

// ---- experts ----

class ExpertTraining : public testing::TestWithParam<Stages> {};

TEST_P(ExpertTraining, IsOneProcess) {
  Job run{size_of_model("mixtral"), GetParam().parallel, trainer_options()};
  run.size.balance_coefficient = 0.5;
  run.trainer.clip_norm = 0.5;
  const StagesOutcome alone = train(run, nullptr);
  const std::vector<StagesOutcome> outcomes = train_on(GetParam().ranks, run);
  EXPECT_LT(distance(outcomes[0].weights, alone.weights), 2e-5);
  for (const StagesOutcome& outcome : outcomes) {
    for (int64_t i = 0; i <= kUpdates; ++i)
      EXPECT_NEAR(outcome.losses[i], alone.losses[i], 1e-5) << "step " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Meshes, ExpertTraining,
    testing::Values(Stages{"ep_2", 2, {.sizes = {.ep = 2}}},
                    Stages{"ep_4", 4, {.sizes = {.ep = 4}}},
                    Stages{"ep_2_dp_2", 4, {.sizes = {.ep = 2}}},
                    Stages{"pp_2_zb_ep_2",
                           4,
                           {.sizes = {.pp = 2, .ep = 2}, .schedule = PipelineKind::ZeroBubbleH1}},
                    Stages{
                        "pp_2_interleaved",
                        2,
                        {.sizes = {.pp = 2}, .schedule = PipelineKind::Interleaved, .chunks = 2}},
                    Stages{"pp_2_dp_2_ep_2", 8, {.sizes = {.pp = 2, .ep = 2}}}),
    [](const auto& info) { return std::string(info.param.name); });

// ---- stages and experts whose layers and sequences ranks share ----

struct Mix {
  const char* name;
  const char* type;
  int ranks;
  ModelParallelOptions parallel;
};

class MixedTraining : public testing::TestWithParam<Mix> {};

TEST_P(MixedTraining, IsOneProcess) {
  const Mix& mix = GetParam();
  Job run{size_of_model(mix.type), mix.parallel, trainer_options()};
  run.size.heads = 3;
  run.size.dim = 24;
  run.size.tied = true;
  run.size.balance_coefficient = 0.5;
  run.trainer.clip_norm = 0.5;
  run.sgd = true;
  const StagesOutcome alone = train(run, nullptr);
  const std::vector<StagesOutcome> outcomes = train_on(mix.ranks, run);
  EXPECT_LT(distance(outcomes[0].weights, alone.weights), 2e-5);
  for (const StagesOutcome& outcome : outcomes) {
    for (int64_t i = 0; i <= kUpdates; ++i)
      EXPECT_NEAR(outcome.losses[i], alone.losses[i], 2e-5) << "step " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Meshes, MixedTraining,
    testing::Values(Mix{"gpt2_pp_2_tp_2", "gpt2", 4, {.sizes = {.pp = 2, .tp = 2}}},
                    Mix{"gpt2_pp_2_zb_cp_2_tp_2",
                        "gpt2",
                        8,
                        {.sizes = {.pp = 2, .cp = 2, .tp = 2},
                         .schedule = PipelineKind::ZeroBubbleH1}},
                    Mix{"llama_pp_2_interleaved_dp_2_tp_2_sequence",
                        "llama",
                        8,
                        {.sizes = {.pp = 2, .tp = 2},
                         .sequence = true,
                         .schedule = PipelineKind::Interleaved,
                         .chunks = 2}},
                    Mix{"llama_pp_2_dp_2_cp_2", "llama", 8, {.sizes = {.pp = 2, .cp = 2}}},
                    Mix{"gpt2_pp_2_dp_2_tp_2_zero",
                        "gpt2",
                        8,
                        {.sizes = {.pp = 2, .tp = 2}, .data_parallel = {.sharded = true}}},
                    Mix{"mixtral_dp_2_ep_2_zero",
                        "mixtral",
                        4,
                        {.sizes = {.ep = 2}, .data_parallel = {.sharded = true}}},
                    Mix{"mixtral_ep_2_tp_2", "mixtral", 4, {.sizes = {.ep = 2, .tp = 2}}},
                    Mix{"mixtral_dp_2_ep_2_cp_2", "mixtral", 8, {.sizes = {.ep = 2, .cp = 2}}},
                    Mix{"mixtral_pp_2_ep_2_tp_2_sequence",
                        "mixtral",
                        8,
                        {.sizes = {.pp = 2, .ep = 2, .tp = 2}, .sequence = true}}),
    [](const auto& info) { return std::string(info.param.name); });

// ---- what is refused ----

TEST(CheckModelParallel, NamesTheKeyThatDoesNotFit) {
  const auto refused = [](const ModelParallelOptions& options, int ranks, const std::string& type,
                          const char* message, bool checkpointing = false) {
    const auto model = make_model(size_of_model(type), 0);
    expect_error(ErrorKind::Config, message,
                 [&] { check_model_parallel(options, ranks, model->info(), checkpointing); });
  };
  refused({.sizes = {.pp = 3}}, 4, "gpt2",
          "parallel.pp: got 3, with parallel.ep 1, parallel.cp 1 and parallel.tp 1; their product "
          "takes a divisor of the 4 ranks");
  refused({.sizes = {.ep = 2}}, 2, "gpt2", "parallel.ep: got 2, gpt2 has no experts");
  refused({.sizes = {.ep = 6}}, 6, "mixtral", "parallel.ep: got 6, takes at most the 5 experts");
  refused({.sizes = {.pp = 2}, .chunks = 2}, 2, "gpt2", "parallel.chunks: got 2, takes 1");
  refused({.sizes = {.pp = 6}}, 6, "gpt2",
          "parallel.pp: got 6 stages of 1 chunks, takes at most one for each "
          "of the 5 layers");
  refused({.sizes = {.pp = 2}, .schedule = PipelineKind::ZeroBubbleH1}, 2, "gpt2",
          "parallel.schedule: got zb-h1", true);
}

TEST(PipelineTrainingErrors, RefusesMicroBatchesThatRanksCannotShare) {
  Job run{size_of_model("gpt2"), {.sizes = {.pp = 2}}, trainer_options()};
  run.trainer.batch = 6;
  EXPECT_THROW(train_on(4, run), Error);
}

}  // namespace
}  // namespace plinth
