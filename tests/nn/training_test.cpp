// A small transformer, built and trained as a user would, with every part of nn/ together.

#include <omp.h>

#include <functional>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/loss.h"
#include "core/random.h"
#include "nn/clip.h"
#include "nn/flat.h"
#include "nn/gradient_tree.h"
#include "nn/layers.h"
#include "nn/optim/adafactor.h"
#include "nn/optim/adamw.h"
#include "nn/optim/lion.h"
#include "nn/optim/muon.h"
#include "nn/optim/sgd.h"
#include "nn/schedule.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

constexpr int64_t kVocab = 13, kDim = 16, kTime = 12;

class Block : public Layer {
 public:
  explicit Block(const RopeTable& table)
      : attention_norm_(make<RMSNorm>("attention_norm", kDim)),
        attention_(make<MultiHeadAttention>("attention", MultiHeadAttentionOptions{.dim = kDim,
                                                                                   .heads = 4,
                                                                                   .kv_heads = 2,
                                                                                   .causal = true,
                                                                                   .dropout = 0.05,
                                                                                   .rope = table})),
        mlp_norm_(make<LayerNorm>("mlp_norm", kDim)),
        mlp_(make<MLP>("mlp", kDim, 4 * kDim, MLPOptions{.dropout = 0.05})) {}

  Tensor forward(const Tensor& x) override {
    const AddNorm middle = mlp_norm_->add({x, attention_(attention_norm_(x))});
    return middle.sum + mlp_(middle.normed);
  }

 private:
  Handle<RMSNorm> attention_norm_;
  Handle<MultiHeadAttention> attention_;
  Handle<LayerNorm> mlp_norm_;
  Handle<MLP> mlp_;
};

class Decoder : public ModuleOf<Decoder> {
 public:
  Decoder()
      : embedding_(make<Embedding>("embedding", kVocab, kDim, init::normal(0, 0.2))),
        blocks_(make<Sequential>("blocks")),
        norm_(make<RMSNorm>("norm", kDim)) {
    const RopeTable table = rope_table(kTime, kDim / 4);
    for (int i = 0; i < 2; ++i) blocks_->append(std::make_shared<Block>(table));
    reset_parameters(1);
  }

  Tensor forward(const Tensor& ids, const Tensor& targets) {
    return linear_cross_entropy(norm_(blocks_(embedding_(ids))), embedding_->weight(), targets);
  }

 private:
  Handle<Embedding> embedding_;
  Handle<Sequential> blocks_;
  Handle<RMSNorm> norm_;
};

// Rows of a fixed rule: the next id is 3 id + 2 modulo the vocabulary.
struct Batch {
  Tensor ids, targets;
};
Batch batch_of(int64_t first_sample, int64_t samples) {
  Batch batch{zeros({samples, kTime}, {DType::Int64, {}}),
              zeros({samples, kTime}, {DType::Int64, {}})};
  for (int64_t s = 0; s < samples; ++s) {
    int64_t id = (first_sample + s) % kVocab;
    for (int64_t t = 0; t < kTime; ++t) {
      batch.ids.data<int64_t>()[s * kTime + t] = id;
      id = (3 * id + 2) % kVocab;
      batch.targets.data<int64_t>()[s * kTime + t] = id;
    }
  }
  return batch;
}

struct Run {
  int64_t steps = 40;
  int64_t micro_batches = 2;
  DType autocast = DType::Float32;
  DType parameters = DType::Float32;
};
using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(const Module&)>;

std::unique_ptr<Optimizer> adamw(const Module& model) {
  return std::make_unique<AdamW>(decay_matrices(model, 0.1), AdamWOptions{.lr = 1e-2});
}

// The loss of each step.
std::vector<double> train(const MakeOptimizer& make_optimizer, const Run& run) {
  manual_seed(5);
  Decoder model;
  model.to(run.parameters);
  const auto optimizer = make_optimizer(model);
  const double peak = optimizer->lr();
  const Schedule schedule{.kind = ScheduleKind::Cosine,
                          .peak = peak,
                          .floor = peak / 10,
                          .warmup = 4,
                          .steps = run.steps};
  FlatGradients gradients(model.parameters(), DType::Float32);
  GradientTree tree(gradients);
  std::vector<double> losses;
  for (int64_t step = 0; step < run.steps; ++step) {
    gradients.zero();
    double loss_sum = 0;
    for (int64_t k = 0; k < run.micro_batches; ++k) {
      if (k > 0) tree.next();
      const Batch batch = batch_of(4 * k, 4);
      generator().begin_step(static_cast<uint64_t>(step), 4 * k);
      const AutocastGuard autocast(run.autocast);
      const Tensor loss = model(batch.ids, batch.targets);
      loss.backward();
      loss_sum += loss.item();
    }
    tree.finish();
    const double scale = 1.0 / static_cast<double>(run.micro_batches);
    const double norm = scale * global_norm(gradients.buffers());
    optimizer->set_lr(schedule.at(step));
    optimizer->step(scale * clip_factor(norm, 1));
    losses.push_back(loss_sum * scale);
  }
  return losses;
}

// For work as small as this a second thread is more waiting than help.
class Threads {
 public:
  explicit Threads(int count) : previous_(omp_get_max_threads()) { omp_set_num_threads(count); }
  ~Threads() { omp_set_num_threads(previous_); }

 private:
  int previous_;
};

TEST(Training, EveryOptimizerLearnsTheRule) {
  const Threads one(1);
  const struct {
    std::string name;
    MakeOptimizer make;
  } cases[] = {
      {"adamw", adamw},
      {"sgd",
       [](const Module& model) {
         return std::make_unique<Sgd>(all_parameters(model),
                                      SgdOptions{.lr = 0.3, .momentum = 0.9});
       }},
      {"lion",
       [](const Module& model) {
         return std::make_unique<Lion>(all_parameters(model), LionOptions{.lr = 3e-3});
       }},
      {"muon",
       [](const Module& model) {
         const MuonGroups groups = muon_groups(model);
         return std::make_unique<Muon>(groups.matrices, groups.others, MuonOptions{.lr = 1e-2});
       }},
      {"adafactor",
       [](const Module& model) {
         return std::make_unique<Adafactor>(all_parameters(model), AdafactorOptions{.lr = 0.1});
       }},
  };
  for (const auto& c : cases) {
    const std::vector<double> losses = train(c.make, {.steps = 60});
    EXPECT_GT(losses.front(), 2) << c.name;
    EXPECT_LT(losses.back(), 0.7) << c.name;
  }
}

TEST(Training, HasTheSameBitsOnAnyNumberOfThreads) {
  const auto on = [](int count) {
    const Threads threads(count);
    return train(adamw, {.steps = 4});
  };
  EXPECT_EQ(on(1), on(3));
}

TEST(Training, MixedAndNarrowPrecisionLearnToo) {
  const Threads one(1);
  const std::vector<double> wide = train(adamw, {});
  const std::vector<double> mixed = train(adamw, {.autocast = DType::BFloat16});
  const std::vector<double> narrow = train(adamw, {.parameters = DType::BFloat16});
  EXPECT_NEAR(mixed.front(), wide.front(), 0.05);
  EXPECT_NEAR(narrow.front(), wide.front(), 0.05);
  EXPECT_LT(mixed.back(), 1);
  EXPECT_LT(narrow.back(), 1);
}

}  // namespace
}  // namespace plinth::nn
