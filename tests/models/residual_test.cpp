// Residual streams, whose last branch the next norm adds.

#include "nn/residual.h"

#include <gtest/gtest.h>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/ops/factories.h"
#include "models/registry.h"
#include "tests/core/additions.h"

namespace plinth {
namespace {

std::unique_ptr<LanguageModel> model_of(const std::string& type, int64_t layers) {
  ModelSize size;
  size.type = type;
  size.vocab_size = 50;
  size.context = 12;
  size.layers = layers;
  size.dim = 16;
  size.heads = 4;
  return make_model(size, 0);
}

int additions_of(LanguageModel& model) {
  const Tensor ids = from_values<int64_t>({1, 2, 3}, {1, 3});
  const Additions additions;
  static_cast<void>(model.hidden(ids));
  return additions.count;
}

TEST(Residual, NormsAddTheBranchesOfAllBlocksButTheLast) {
  for (const char* type : {"gpt2", "llama"}) {
    SCOPED_TRACE(type);
    const auto few = model_of(type, 2), many = model_of(type, 5);
    for (const DType precision : {DType::Float32, DType::BFloat16}) {
      const AutocastGuard guard(precision);
      EXPECT_EQ(additions_of(*few), additions_of(*many)) << name(precision);
    }
    many->set_activation_checkpointing(true);
    EXPECT_EQ(additions_of(*many) - additions_of(*few), 4);
  }
}

TEST(Residual, CheckpointedBlocksGiveTheSameBits) {
  const Tensor ids = from_values<int64_t>({1, 2, 3, 4}, {1, 4}),
               targets = from_values<int64_t>({2, 3, 4, 5}, {1, 4});
  for (const char* type : {"gpt2", "llama", "mixtral", "bert"}) {
    for (const DType precision : {DType::Float32, DType::BFloat16}) {
      SCOPED_TRACE(testing::Message() << type << " in " << name(precision));
      const auto model = model_of(type, 3);
      const auto gradients = [&](bool checkpointing) {
        model->set_activation_checkpointing(checkpointing);
        model->zero_grad();
        const AutocastGuard guard(precision);
        model->loss(ids, targets).backward();
        std::vector<std::vector<double>> all;
        for (const Tensor& parameter : model->parameters())
          if (parameter.grad().defined()) all.push_back(to_vector(parameter.grad()));
        return all;
      };
      EXPECT_EQ(gradients(true), gradients(false));
    }
  }
}

TEST(Residual, AnObserverSeesWhatABlockComputedLast) {
  const Tensor stream = zeros({2, 3}), branch = ones({2, 3});
  EXPECT_TRUE(nn::observed(nn::Residual(stream)).is(stream));
  EXPECT_TRUE(nn::observed(nn::Residual(stream, branch)).is(branch));
  EXPECT_TRUE(nn::Residual(stream).sum().is(stream));
}

}  // namespace
}  // namespace plinth
