// Ranks that share a model or a sequence, against a process alone.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <thread>

#include "core/autograd.h"
#include "core/random.h"
#include "distributed/simulated/simulated_group.h"
#include "models/registry.h"
#include "nn/optim/sgd.h"
#include "tests/core/io/expect_error.h"
#include "tests/distributed/on_ranks.h"
#include "tests/train/sequences.h"
#include "train/pretrain/ranks.h"
#include "train/shared_model.h"
#include "train/trainer.h"

namespace plinth {
namespace {

using distributed::on_ranks;
using distributed::ProcessGroup;
using Group = std::shared_ptr<ProcessGroup>;

constexpr int64_t kContext = 32, kBatch = 4, kSteps = 4;

struct Case {
  const char* name;
  const char* type;
  int64_t heads, kv_heads;  // of 8 elements
  int64_t dp = 1, cp = 1, tp = 1;
  bool sequence = false;
  const char* algorithm = "gather";
  bool zero = false;
  bool checkpointing = false;  // of activations
  DType precision = DType::Float32;

  int ranks() const { return static_cast<int>(dp * cp * tp); }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

// The vocabulary, 29, and hidden units, 50, are cut unevenly.
std::unique_ptr<LanguageModel> small_model(const Case& c) {
  ModelSize size;
  size.type = c.type;
  size.layers = 2;
  size.dim = 8 * c.heads;
  size.heads = c.heads;
  size.kv_heads = c.kv_heads;
  size.ffn_dim = 50;
  size.context = kContext;
  size.vocab_size = 29;
  size.tied = size.type == "gpt2" || size.type == "bert";
  size.dropout = size.tied ? 0.1 : 0;
  size.experts = 3;
  size.balance_coefficient = 0.5;
  return make_model(size, 3);
}

PretrainConfig config_of(const Case& c) {
  PretrainConfig config;
  config.parallel.tp = c.tp;
  config.parallel.cp = c.cp;
  config.parallel.sequence = c.sequence;
  config.parallel.cp_algorithm = c.algorithm;
  config.train.batch = kBatch;
  config.train.micro_batch = 1;
  return config;
}

// A rank's share of the model; `world` is null for a process alone.
struct Shared {
  std::unique_ptr<LanguageModel> model;
  RankGroups groups;
  std::shared_ptr<const distributed::LayerPlan> parallel;

  Shared(const Case& c, const Group& world) : model(small_model(c)) {
    // Ranks are threads here, and each has threads of its own.
    omp_set_num_threads(1);
    model->set_activation_checkpointing(c.checkpointing);
    if (!world) return;
    groups = arrange_ranks(config_of(c), world);
    if (groups.tp || groups.cp)
      parallel = share_model(*model, layer_plan_options(config_of(c), groups));
  }

  const distributed::ParameterParts* shards() const {
    return parallel ? parallel->shards() : nullptr;
  }
  nn::StateDict whole(const nn::StateDict& parts) const {
    return shards() ? shards()->whole(parts) : parts;
  }
};

struct SharedOutcome {
  std::vector<double> losses;
  nn::StateDict weights, states;  // of rank 0, the optimizer's without ZeRO
};

SharedOutcome train(const Case& c, const Group& world) {
  const Shared shared(c, world);
  // SGD: an update is as exact as its gradient. (AdamW's is not where a gradient is nothing but
  // rounding, as that of the keys' bias.)
  nn::Sgd optimizer(nn::decay_matrices(*shared.model, 0.1), {.lr = 0.3, .momentum = 0.9});
  Sequences data({.context = kContext,
                  .batch = kBatch,
                  .rank = shared.groups.data_rank(),
                  .ranks = shared.groups.data_ranks()});
  TrainerOptions options;
  options.steps = kSteps;
  options.seed = 4;
  options.batch = kBatch;
  options.micro_batch = 1;
  options.clip_norm = 0.5;
  options.precision = c.precision;
  options.group = shared.groups.data;
  options.world = shared.groups.world;
  options.context = world ? c.cp : 1;
  options.shards = shared.shards();
  options.data_parallel.sharded = c.zero;
  Trainer trainer(
      *shared.model, [&](const Batch& batch) { return shared.model->loss(batch[0], batch[1]); },
      optimizer, {.kind = nn::ScheduleKind::Constant, .peak = 0.3, .steps = 10}, data, options);
  SharedOutcome outcome;
  for (int64_t i = 0; i < kSteps; ++i) outcome.losses.push_back(trainer.step());
  outcome.weights = shared.whole(shared.model->named_parameters());
  if (!c.zero) outcome.states = shared.whole(optimizer.state_dict());
  return outcome;
}

std::vector<SharedOutcome> train_on(const Case& c) {
  std::vector<SharedOutcome> outcomes(c.ranks());
  on_ranks(c.ranks(), [&](const Group& world) { outcomes[world->rank()] = train(c, world); });
  return outcomes;
}

// The largest difference, in units of the largest element.
double distance(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = to_vector(a), y = to_vector(b);
  double most = 0, difference = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    most = std::max(most, std::abs(y[i]));
    difference = std::max(difference, std::abs(x[i] - y[i]));
  }
  return difference / most;
}

// Sums of up to 32 x 50 terms in another order, through two layers and back: some hundred units of
// float32's 6e-8. Four steps then add up four such updates.
constexpr double kRounding = 2e-5;

void expect_close(const nn::StateDict& values, const nn::StateDict& expected, double tolerance) {
  ASSERT_EQ(values.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    const Tensor value = nn::find(values, name);
    ASSERT_TRUE(value.defined()) << name;
    ASSERT_EQ(value.shape(), tensor.shape()) << name;
    EXPECT_LT(distance(value, tensor), tolerance) << name;
  }
}

class ModelParallelTraining : public testing::TestWithParam<Case> {};

TEST_P(ModelParallelTraining, GivesTheLossesAndWeightsOfOneRank) {
  const Case& c = GetParam();
  const SharedOutcome alone = train(c, nullptr);
  EXPECT_LT(alone.losses.back(), 0.98 * alone.losses.front());
  const std::vector<SharedOutcome> ranks = train_on(c);
  for (const SharedOutcome& outcome : ranks) {
    for (size_t i = 0; i < alone.losses.size(); ++i)
      EXPECT_NEAR(outcome.losses[i], alone.losses[i], kRounding) << "step " << i;
    EXPECT_EQ(outcome.losses, ranks[0].losses);  // they decide alike
  }
  expect_close(ranks[0].weights, alone.weights, kRounding);
  expect_close(ranks[0].states, alone.states, kRounding);
}

// What ranks have of a micro-batch's gradients adds up to those of one rank, for each parameter.
TEST_P(ModelParallelTraining, GivesTheGradientsOfOneRank) {
  const Case& c = GetParam();
  const auto gradients = [&](const Shared& shared) {
    Sequences data({.context = kContext});
    const Batch batch = data.next(2);
    manual_seed(7);
    shared.model->loss(batch[0], batch[1]).backward();
    nn::StateDict found;
    for (const auto& [name, parameter] : shared.model->named_parameters()) {
      const Tensor gradient = parameter.grad().clone();
      if (shared.groups.cp) shared.groups.cp->all_reduce(gradient).wait();
      found.push_back({name, gradient});
    }
    return shared.whole(found);
  };
  const nn::StateDict alone = gradients(Shared(c, nullptr));
  std::vector<nn::StateDict> found(c.ranks());
  on_ranks(c.ranks(),
           [&](const Group& world) { found[world->rank()] = gradients(Shared(c, world)); });
  for (const auto& [name, expected] : alone) {
    // The loss does not depend on the keys' bias: its third of the gradient is rounding.
    EXPECT_LT(distance(nn::find(found[0], name), expected), kRounding) << name;
  }
}

// Sequences that cannot be cut evenly, as at the end of a text.
TEST_P(ModelParallelTraining, TakesSequencesOfAnyLength) {
  const Case& c = GetParam();
  const auto loss = [&](const Shared& shared, int64_t length) {
    const NoGradGuard no_grad;
    shared.model->eval();
    const Batch batch = Sequences({.context = kContext}).next(2);
    return shared.model
        ->loss(batch[0].narrow(1, 0, length).contiguous(),
               batch[1].narrow(1, 0, length).contiguous())
        .item();
  };
  const Shared alone(c, nullptr);
  for (const int64_t length : {int64_t{1}, int64_t{19}}) {
    const double expected = loss(alone, length);
    on_ranks(c.ranks(), [&](const Group& world) {
      const Shared shared(c, world);
      if (c.sequence && !shared.model->info().causal) {
        // What fills up a sequence would be seen.
        expect_error(ErrorKind::Shape, "expected a multiple of 2 tokens",
                     [&] { loss(shared, length); });
      } else {
        EXPECT_NEAR(loss(shared, length), expected, kRounding) << length;
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ModelParallelTraining,
    testing::Values(
        Case{.name = "GptTp2", .type = "gpt2", .heads = 4, .kv_heads = 0, .tp = 2},
        Case{.name = "GptTp4", .type = "gpt2", .heads = 4, .kv_heads = 0, .tp = 4},
        Case{.name = "GptThreeHeadsTp2", .type = "gpt2", .heads = 3, .kv_heads = 0, .tp = 2},
        Case{.name = "GptTp4Sequence",
             .type = "gpt2",
             .heads = 5,
             .kv_heads = 0,
             .tp = 4,
             .sequence = true},
        Case{.name = "LlamaTp2", .type = "llama", .heads = 6, .kv_heads = 3, .tp = 2},
        Case{.name = "LlamaTp4SharesKvHeads", .type = "llama", .heads = 6, .kv_heads = 2, .tp = 4},
        Case{.name = "LlamaTp2Sequence",
             .type = "llama",
             .heads = 4,
             .kv_heads = 2,
             .tp = 2,
             .sequence = true},
        Case{.name = "GptCp2Gather", .type = "gpt2", .heads = 2, .kv_heads = 0, .cp = 2},
        Case{.name = "GptCp4Ring",
             .type = "gpt2",
             .heads = 2,
             .kv_heads = 0,
             .cp = 4,
             .algorithm = "ring"},
        Case{.name = "LlamaCp4Gather", .type = "llama", .heads = 4, .kv_heads = 2, .cp = 4},
        Case{.name = "LlamaCp2Ring",
             .type = "llama",
             .heads = 4,
             .kv_heads = 2,
             .cp = 2,
             .algorithm = "ring"},
        Case{.name = "GptDp2Tp2Zero",
             .type = "gpt2",
             .heads = 3,
             .kv_heads = 0,
             .dp = 2,
             .tp = 2,
             .sequence = true,
             .zero = true},
        Case{.name = "MixtralTp2", .type = "mixtral", .heads = 4, .kv_heads = 2, .tp = 2},
        Case{.name = "MixtralCp2Tp2Sequence",
             .type = "mixtral",
             .heads = 4,
             .kv_heads = 2,
             .cp = 2,
             .tp = 2,
             .sequence = true},
        Case{.name = "LlamaDp2Cp2", .type = "llama", .heads = 4, .kv_heads = 2, .dp = 2, .cp = 2},
        Case{.name = "BertTp2", .type = "bert", .heads = 3, .kv_heads = 0, .tp = 2},
        Case{.name = "BertDp2Tp2Zero",
             .type = "bert",
             .heads = 4,
             .kv_heads = 0,
             .dp = 2,
             .tp = 2,
             .sequence = true,
             .zero = true,
             .checkpointing = true},
        Case{.name = "GptDp2Cp2Tp2",
             .type = "gpt2",
             .heads = 3,
             .kv_heads = 0,
             .dp = 2,
             .cp = 2,
             .tp = 2,
             .sequence = true,
             .algorithm = "ring",
             .zero = true,
             .checkpointing = true}),
    [](const auto& info) { return std::string(info.param.name); });

// bfloat16 keeps 8 bits; each part of a sum is rounded once more than the whole.
TEST(ModelParallelPrecision, BFloat16IsClose) {
  Case c{.name = "",
         .type = "gpt2",
         .heads = 4,
         .kv_heads = 0,
         .cp = 2,
         .tp = 2,
         .sequence = true,
         .algorithm = "ring"};
  c.precision = DType::BFloat16;
  const SharedOutcome alone = train(c, nullptr), shared = train_on(c)[0];
  for (size_t i = 0; i < alone.losses.size(); ++i)
    EXPECT_NEAR(shared.losses[i], alone.losses[i], 0.02) << "step " << i;
}

// What a checkpoint has is cut again into what each rank had.
TEST(ModelParallelPlan, CutsWholeParametersIntoItsOwn) {
  const Case c{.name = "", .type = "llama", .heads = 6, .kv_heads = 2, .tp = 4};
  const nn::StateDict whole = Shared(c, nullptr).model->named_parameters();
  on_ranks(c.ranks(), [&](const Group& world) {
    const Shared shared(c, world);
    const nn::StateDict own = shared.model->named_parameters();
    const nn::StateDict room = shared.shards()->room(own), parts = shared.shards()->parts(whole);
    for (size_t i = 0; i < own.size(); ++i) {
      EXPECT_EQ(room[i].tensor.shape(), whole[i].tensor.shape()) << own[i].name;
      EXPECT_EQ(to_vector(parts[i].tensor), to_vector(own[i].tensor)) << own[i].name;
    }
  });
}

TEST(ModelParallelPlan, RefusesWhatItCannotCut) {
  const auto groups = distributed::make_simulated_groups(4);
  Case c{.name = "", .type = "gpt2", .heads = 3, .kv_heads = 0, .tp = 4};
  expect_error(ErrorKind::Config, "parallel.tp: got 4, takes fewer for a model of 3 heads",
               [&] { on_ranks(4, [&](const Group& world) { Shared(c, world); }); });
  c.heads = 4, c.cp = 3;
  expect_error(ErrorKind::Config, "model.context: got 32, takes a multiple of 6",
               [&] { on_ranks(12, [&](const Group& world) { Shared(c, world); }); });
  c.cp = 1;
  expect_error(ErrorKind::Argument, "got 4 ranks for 3 heads",
               [&] { distributed::head_share(3, 3, 4, 1); });
  c.tp = 3;
  expect_error(ErrorKind::Config,
               "parallel.tp: got 3 and parallel.cp 1, whose product takes a "
               "divisor of the 4 ranks",
               [&] { arrange_ranks(config_of(c), groups[0]); });
  c.tp = 1, c.sequence = true;
  expect_error(ErrorKind::Config, "parallel.sequence: got true, takes parallel.tp of 2 or more",
               [&] { arrange_ranks(config_of(c), groups[0]); });
  c.sequence = false;
  PretrainConfig config = config_of(c);
  const auto refused = [&](const auto& arrange, const std::string& message) {
    config.parallel = PretrainConfig::Parallel();
    arrange(config.parallel);
    expect_error(ErrorKind::Config, message, [&] { arrange_ranks(config, groups[0]); });
  };
  using Parallel = PretrainConfig::Parallel;
  refused([](Parallel& p) { p.tp = p.cp = p.pp = 2; },
          "parallel.tp: got 2, with parallel.cp 2, parallel.pp 2 and parallel.ep 1; their product "
          "takes a divisor of the 4 ranks");
  refused([](Parallel& p) { p.cp = 2, p.zero = 3, p.dp_shard = 1; },
          "parallel.dp_shard: got 1, takes a divisor of the 4");
  refused([](Parallel& p) { p.tp = 2, p.zero = 2, p.dp_shard = 4; },
          "parallel.dp_shard: got 4, takes a divisor of the 2");
  refused([](Parallel& p) { p.zero = p.pp = 2; },
          "parallel.zero: got 2, takes 0 or 1 with parallel.pp");
}

// Each rank has whole groups of heads, or a part of one.
TEST(ModelParallelPlan, CutsHeadsWithTheKvHeadsThatTheyRead) {
  using testing::ElementsAre;
  using testing::Pair;
  const auto all = [](int64_t heads, int64_t kv_heads, int ranks) {
    std::vector<std::pair<int64_t, int64_t>> found;  // heads and kv_heads of each rank
    int64_t next = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto own = distributed::head_share(heads, kv_heads, ranks, rank);
      EXPECT_EQ(own.heads.begin, next);
      EXPECT_EQ(own.kv_heads.begin, own.heads.begin / (heads / kv_heads));
      next += own.heads.count;
      found.emplace_back(own.heads.count, own.kv_heads.count);
    }
    EXPECT_EQ(next, heads);
    return found;
  };
  EXPECT_THAT(all(8, 8, 4), testing::Each(Pair(2, 2)));
  EXPECT_THAT(all(6, 3, 2), ElementsAre(Pair(4, 2), Pair(2, 1)));
  EXPECT_THAT(all(6, 2, 4), ElementsAre(Pair(2, 1), Pair(1, 1), Pair(2, 1), Pair(1, 1)));
  EXPECT_THAT(all(8, 1, 4), testing::Each(Pair(2, 1)));
}

}  // namespace
}  // namespace plinth
