// Whole models trained on a GPU, against the same training on the CPU.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "core/random.h"
#include "models/bert/bert.h"
#include "models/gpt2/gpt2.h"
#include "models/llama/llama.h"
#include "nn/clip.h"
#include "nn/optim/adamw.h"
#include "nn/optim/groups.h"
#include "nn/optim/lion.h"
#include "nn/optim/muon.h"
#include "nn/optim/sgd.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

class DeviceTraining : public OnDevice {};

constexpr int64_t kVocab = 13, kBatch = 2, kTime = 7;

// What all of them have.
template <class Config>
Config small_config() {
  Config config;
  config.vocab_size = kVocab;
  config.context = kTime + 1;
  config.dim = 16;
  config.layers = 2;
  return config;
}

// Of a model whose keys and values have all heads.
template <class Model, class Config>
std::unique_ptr<LanguageModel> two_heads() {
  auto config = small_config<Config>();
  config.heads = 2;
  config.ffn_dim = 32;
  return std::make_unique<Model>(config);
}
constexpr auto gpt2 = two_heads<Gpt2, Gpt2Config>;
constexpr auto bert = two_heads<Bert, BertConfig>;

LlamaConfig llama_config() {
  auto config = small_config<LlamaConfig>();
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 4;
  config.ffn_dim = 24;
  return config;
}

std::unique_ptr<LanguageModel> llama() {
  return std::make_unique<Llama>(llama_config());
}

std::unique_ptr<LanguageModel> mixtral() {
  LlamaConfig config = llama_config();
  config.experts = LlamaExperts{.count = 3};
  return std::make_unique<Llama>(config);
}

using MakeModel = std::unique_ptr<LanguageModel> (*)();
using MakeOptimizer = std::unique_ptr<nn::Optimizer> (*)(const nn::Module&);

struct Trained {
  std::vector<double> losses, norms;
  std::vector<std::vector<double>> parameters;
};

Trained train(Device device, MakeModel make_model, MakeOptimizer make_optimizer, int steps = 3) {
  manual_seed(1);
  const std::unique_ptr<LanguageModel> model = make_model();
  model->reset_parameters(7);
  model->to(device);
  const std::unique_ptr<nn::Optimizer> optimizer = make_optimizer(*model);
  Trained trained;
  for (int step = 0; step < steps; ++step) {
    generator().begin_step(static_cast<uint64_t>(step));
    std::vector<int64_t> ids;
    for (int64_t i = 0; i <= kBatch * kTime; ++i) ids.push_back((i * i + 3 * step) % kVocab);
    const std::span<const int64_t> all(ids);
    const Shape shape{kBatch, kTime};
    const Tensor input = from_values(all.first(kBatch * kTime), shape).to(device);
    const Tensor target = from_values(all.last(kBatch * kTime), shape).to(device);
    model->zero_grad();
    const Tensor loss = model->loss(input, target);
    loss.backward();
    trained.losses.push_back(loss.item());
    trained.norms.push_back(nn::grad_norm(model->parameters()));
    optimizer->step(nn::clip_factor(trained.norms.back(), 0.5));
  }
  for (const Tensor& parameter : model->parameters()) {
    EXPECT_EQ(parameter.device(), device);
    trained.parameters.push_back(to_vector(parameter));
  }
  return trained;
}

std::unique_ptr<nn::Optimizer> adamw(const nn::Module& model) {
  return std::make_unique<nn::AdamW>(nn::all_parameters(model), nn::AdamWOptions{.lr = 1e-2});
}

void expect_equal(const Trained& there, const Trained& here, double tolerance) {
  using testing::DoubleNear, testing::Pointwise;
  EXPECT_THAT(there.losses, Pointwise(DoubleNear(tolerance), here.losses));
  EXPECT_THAT(there.norms, Pointwise(DoubleNear(tolerance), here.norms));
  for (size_t i = 0; i < here.parameters.size(); ++i)
    EXPECT_THAT(there.parameters[i], Pointwise(DoubleNear(tolerance), here.parameters[i])) << i;
}

// Dropout is on: its masks are the CPU's.
TEST_F(DeviceTraining, Gpt2LearnsAsOnTheCpu) {
  const Trained there = train(kDevice, gpt2, adamw);
  expect_equal(there, train({}, gpt2, adamw), 2e-5);
  const Trained again = train(kDevice, gpt2, adamw);
  EXPECT_EQ(again.losses, there.losses);
  EXPECT_EQ(again.parameters, there.parameters);
}

TEST_F(DeviceTraining, LlamaLearnsAsOnTheCpu) {
  expect_equal(train(kDevice, llama, adamw), train({}, llama, adamw), 2e-5);
}

TEST_F(DeviceTraining, BertLearnsAsOnTheCpu) {
  expect_equal(train(kDevice, bert, adamw), train({}, bert, adamw), 2e-5);
}

TEST_F(DeviceTraining, MixtralLearnsAsOnTheCpu) {
  expect_equal(train(kDevice, mixtral, adamw), train({}, mixtral, adamw), 2e-5);
}

TEST_F(DeviceTraining, EveryOptimizerStepsAsOnTheCpu) {
  const MakeOptimizer optimizers[] = {
      [](const nn::Module& m) -> std::unique_ptr<nn::Optimizer> {
        return std::make_unique<nn::Sgd>(nn::all_parameters(m),
                                         nn::SgdOptions{.lr = 0.1, .momentum = 0.9});
      },
      [](const nn::Module& m) -> std::unique_ptr<nn::Optimizer> {
        return std::make_unique<nn::Lion>(nn::all_parameters(m), nn::LionOptions{.lr = 1e-3});
      },
  };
  for (const MakeOptimizer optimizer : optimizers)
    expect_equal(train(kDevice, llama, optimizer, 2), train({}, llama, optimizer, 2), 2e-5);
}

TEST_F(DeviceTraining, GeneratesWithACacheAsWithout) {
  const std::unique_ptr<LanguageModel> model = llama();
  model->reset_parameters(7);
  model->to(kDevice);
  model->eval();
  const NoGradGuard no_grad;
  const Tensor ids = from_values<int64_t>(std::vector<int64_t>{3, 1, 4, 1, 5}, {1, 5}).to(kDevice);
  const std::vector<double> whole = to_vector(model->forward(ids).select(1, 4));
  KVCaches caches = model->make_caches(1, 5);
  Tensor logits;
  for (int64_t t = 0; t < 5; ++t) logits = model->forward(ids.narrow(1, t, 1), &caches);
  EXPECT_THAT(to_vector(logits), testing::Pointwise(testing::DoubleNear(1e-6), whole));
}

TEST_F(DeviceTraining, AModelMovesThereAndBack) {
  const std::unique_ptr<LanguageModel> model = llama();
  model->reset_parameters(7);
  const Tensor ids = from_values<int64_t>(std::vector<int64_t>{3, 1, 4}, {1, 3});
  const NoGradGuard no_grad;
  const std::vector<double> before = to_vector(model->forward(ids));
  model->to(kDevice);
  EXPECT_THROW(model->forward(ids), Error);
  model->to(Device{});
  EXPECT_EQ(to_vector(model->forward(ids)), before);
}

}  // namespace
}  // namespace plinth
