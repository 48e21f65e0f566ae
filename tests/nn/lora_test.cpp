#include "nn/lora.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "core/random.h"
#include "nn/layers.h"
#include "tests/core/io/expect_error.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;

class TwoLayers : public ModuleOf<TwoLayers> {
 public:
  TwoLayers() : up_(make<Linear>("up", 6, 5)), down_(make<Linear>("down", 5, 3)) {}
  Tensor forward(const Tensor& x) { return down_(tanh(up_(x))); }
  Linear& up() { return *up_; }
  Linear& down() { return *down_; }

 private:
  Handle<Linear> up_, down_;
};

TEST(Lora, BeginsAsTheLayerWasAndTrainsItsMatricesAlone) {
  TwoLayers model;
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
  TwoLayers model;
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
  TwoLayers model;
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

TEST(Lora, DropsNothingInAModelThatIsEvaluated) {
  TwoLayers model;
  model.eval();
  add_lora(model, {.rank = 2, .alpha = 2, .dropout = 0.5}, {"down"}, 1);
  const std::vector<NamedModule> all = model.named_modules();
  EXPECT_TRUE(
      std::ranges::none_of(all, [](const auto& each) { return each.module->is_training(); }));
}

TEST(Lora, RefusesWhatItDoesNotTake) {
  TwoLayers model;
  expect_error(ErrorKind::Argument, "targets got left, which is no linear layer's name",
               [&] { add_lora(model, {}, {"left"}, 1); });
  expect_error(ErrorKind::Argument, "rank of LoRA got 0, takes 1 or more",
               [&] { add_lora(model, {.rank = 0}, {"up"}, 1); });
  expect_error(ErrorKind::Argument, "alpha of LoRA got nan, takes a finite number",
               [&] { add_lora(model, {.alpha = std::nan("")}, {"up"}, 1); });
  add_lora(model, {}, {"up"}, 1);
  expect_error(ErrorKind::Argument, "does not go with LoRA",
               [&] { add_lora(model, {}, {"up"}, 1); });
}

// What a model has, and which of it takes gradients.
std::vector<std::string> trained_names(TwoLayers& model) {
  std::vector<std::string> names;
  for (const auto& [name, parameter] : model.named_parameters())
    names.push_back(name + (parameter.requires_grad() ? "" : " frozen"));
  return names;
}

TEST(Lora, LeavesEverythingAsItWasWhereOneLayerCannotBeAdapted) {
  const LoraOptions options = {.rank = 2};
  const std::vector<std::string> both = {"up", "down"};
  const auto expect_unchanged = [](TwoLayers& model, const std::string& message, auto&& adapt) {
    const std::vector<std::string> before = trained_names(model);
    manual_seed(5);
    expect_error(ErrorKind::Argument, message, adapt);
    EXPECT_EQ(trained_names(model), before);
    EXPECT_EQ(generator().state().seed, 5);
  };
  TwoLayers missing, bad_dropout, adapted;
  expect_unchanged(missing, "targets got left", [&] {
    add_lora(missing, options, {"up", "left"}, 1);
  });
  expect_unchanged(bad_dropout, "p is 2",
                   [&] { add_lora(bad_dropout, {.rank = 2, .dropout = 2}, both, 1); });
  add_lora(adapted, options, {"down"}, 1);
  expect_unchanged(adapted, "does not go with LoRA", [&] { add_lora(adapted, options, both, 1); });
}

TEST(Lora, LeavesEverythingAsItWasWhereMemoryEnds) {
  TwoLayers model;
  const std::vector<std::string> before = trained_names(model);
  // lora_a has 2^60 elements in the first layer alone.
  EXPECT_THROW(add_lora(model, {.rank = int64_t{1} << 57}, {"down", "up"}, 1), Error);
  EXPECT_EQ(trained_names(model), before);
}

}  // namespace
}  // namespace plinth::nn
