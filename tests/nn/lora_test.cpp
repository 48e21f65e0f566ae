#include "nn/lora.h"

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "nn/layers.h"
#include "tests/core/io/expect_error.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;

class Pair : public ModuleOf<Pair> {
 public:
  Pair() : up_(make<Linear>("up", 6, 5)), down_(make<Linear>("down", 5, 3)) {}
  Tensor forward(const Tensor& x) { return down_(tanh(up_(x))); }
  Linear& up() { return *up_; }
  Linear& down() { return *down_; }

 private:
  Handle<Linear> up_, down_;
};

TEST(Lora, BeginsAsTheLayerWasAndTrainsItsMatricesAlone) {
  Pair model;
  const Tensor x = randn({4, 6});
  const std::vector<double> before = to_vector(model(x));
  EXPECT_THAT(add_lora(model, {.rank = 2, .alpha = 8}, {"up"}, 1), ElementsAre("up"));
  EXPECT_EQ(to_vector(model(x)), before);
  sum(model(x)).backward();
  std::vector<std::string> with_gradient;
  for (const auto& [name, parameter] : model.named_parameters())
    if (parameter.grad().defined()) with_gradient.push_back(name);
  EXPECT_THAT(with_gradient, ElementsAre("up.lora_a", "up.lora_b", "down.weight", "down.bias"));
}

TEST(Lora, AddsTheScaledProductAndMergesIt) {
  Pair model;
  add_lora(model, {.rank = 2, .alpha = 8}, {"up", "down"}, 1);
  const Tensor x = randn({4, 6});
  {
    const NoGradGuard no_grad;
    for (auto& [name, parameter] : model.named_parameters())
      if (name.ends_with("lora_b")) parameter.copy_(randn(parameter.shape()));
  }
  const StateDict values = model.state_dict();
  const Tensor product = matmul(find(values, "up.lora_b"), find(values, "up.lora_a"));
  const std::vector<double> expected = to_vector(find(values, "up.weight") + product * 4.0);
  const std::vector<double> merged = to_vector(find(merged_weights(model), "up.weight"));
  for (size_t i = 0; i < merged.size(); ++i) EXPECT_NEAR(merged[i], expected[i], 1e-6);
  const std::vector<double> before = to_vector(model(x));
  merge_lora(model);
  const std::vector<double> after = to_vector(model(x));
  for (size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(after[i], before[i], 1e-5);
  EXPECT_EQ(to_vector(model.up().weight()), merged);
}

TEST(Lora, DropsItsInputInTrainingOnly) {
  Pair model;
  add_lora(model, {.rank = 2, .alpha = 2, .dropout = 0.5}, {"down"}, 1);
  {
    const NoGradGuard no_grad;
    for (auto& [name, parameter] : model.named_parameters())
      if (name.ends_with("lora_b")) parameter.copy_(ones(parameter.shape()));
  }
  const Tensor x = randn({4, 6});
  EXPECT_NE(to_vector(model(x)), to_vector(model(x)));
  model.eval();
  EXPECT_EQ(to_vector(model(x)), to_vector(model(x)));
}

TEST(Lora, RefusesWhatItDoesNotTake) {
  Pair model;
  expect_error(ErrorKind::Argument, "targets got left, which is no linear layer's name",
               [&] { add_lora(model, {}, {"left"}, 1); });
  expect_error(ErrorKind::Argument, "rank of LoRA got 0, takes 1 or more",
               [&] { add_lora(model, {.rank = 0}, {"up"}, 1); });
  add_lora(model, {}, {"up"}, 1);
  expect_error(ErrorKind::Argument, "does not go with LoRA",
               [&] { add_lora(model, {}, {"up"}, 1); });
}

}  // namespace
}  // namespace plinth::nn
