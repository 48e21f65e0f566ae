// Shared gradients and weights on a device, whose work is done later and on several streams.

#include <gtest/gtest.h>

#include "core/ops/factories.h"
#include "distributed/nccl/nccl_group.h"
#include "distributed/sharded_training.h"
#include "distributed/store/hash_store.h"
#include "models/registry.h"
#include "nn/optim/adamw.h"
#include "tests/cuda/nccl_device.h"

namespace plinth::distributed {
namespace {

class DeviceSharding : public OnDeviceWithNccl {
 protected:
  static std::vector<double> train(int64_t stage) {
    ModelSize size;
    size.type = "gpt2";
    size.layers = 2;
    size.dim = 16;
    size.heads = 2;
    size.context = 4;
    size.vocab_size = 31;
    const auto model = make_model(size, 3);
    model->to(kDevice);
    nn::AdamW optimizer(nn::decay_matrices(*model, 0.1), {.lr = 1e-2});
    std::optional<ShardedTraining> training;
    if (stage > 0)
      training.emplace(make_nccl_group(std::make_shared<HashStore>(), 0, 1, kDevice), *model,
                       optimizer, ShardingOptions{.stage = static_cast<int>(stage)});
    std::vector<double> losses;
    for (int64_t step = 0; step < 2; ++step)
      losses.push_back(take_step(*model, optimizer, training));
    return losses;
  }

 private:
  static double take_step(LanguageModel& model, nn::Optimizer& optimizer,
                          std::optional<ShardedTraining>& training) {
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < 8; ++i) ids.push_back(i * i % 31);
    const Tensor batch = from_values(ids, {2, 4}).to(kDevice);
    if (!training) {
      const Tensor loss = model.loss(batch, batch);
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
      return loss.item();
    }
    training->begin_step(1);
    ShardedPass pass(*training, ShardedPass::Kind::Training);
    const Tensor loss = model.loss(batch, batch);
    pass.backward(loss);
    training->finish();
    training->step(1);
    return loss.item();
  }
};

TEST_F(DeviceSharding, GivesTheBitsOfStepsWithout) {
  const std::vector<double> alone = train(0);
  EXPECT_LT(alone.back(), alone.front());
  EXPECT_EQ(train(2), alone);
  EXPECT_EQ(train(3), alone);
}

}  // namespace
}  // namespace plinth::distributed
