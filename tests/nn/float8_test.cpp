#include "nn/float8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/reduce.h"
#include "core/random.h"
#include "nn/layers.h"
#include "nn/optim/adamw.h"
#include "nn/optim/groups.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Linear layers of several sizes, two of which fit.
class Net final : public Layer {
 public:
  explicit Net(int64_t classes = 10)
      : mlp_(make<MLP>("mlp", 32, 64, MLPOptions{.gelu = GeluForm::Tanh})),
        head_(make<Linear>("head", 32, classes)) {}
  Tensor forward(const Tensor& x) override { return head_(x + mlp_(x)); }

 private:
  Handle<MLP> mlp_;
  Handle<Linear> head_;
};

TEST(Float8Linear, ConvertsWhatFitsAndIsAccepted) {
  Net all, some;
  EXPECT_THAT(convert_to_float8(all), ElementsAre("mlp.up", "mlp.down"));
  EXPECT_THAT(convert_to_float8(some, {}, [](std::string_view path) { return path == "mlp.down"; }),
              ElementsAre("mlp.down"));
}

TEST(Float8Linear, RefusesSizesThatDoNotFit) {
  Linear linear(32, 10);
  EXPECT_FALSE(linear.fits_float8());
  EXPECT_EQ(message_of([&] { linear.use_float8({}); }),
            "Linear: weight has shape [10, 32], expected multiples of 16 for float8");
}

TEST(Float8Linear, HistoriesArePartOfTheState) {
  Linear linear(16, 16);
  linear.use_float8({.recipe = Float8Recipe::Delayed, .history = 3});
  std::vector<std::string> names;
  for (const auto& [name, tensor] : linear.state_dict()) names.push_back(name);
  EXPECT_THAT(names,
              ElementsAre("weight", "bias", "x_history", "weight_history", "gradient_history"));
  const Tensor x = full({2, 16}, 3), smaller = full({2, 16}, 0.5);
  for (const Tensor& input : {x, smaller}) linear(input).backward(full({2, 16}, 0.25));
  const auto history = [&](const char* name) { return to_vector(find(linear.state_dict(), name)); };
  EXPECT_THAT(history("x_history"), ElementsAre(0.5, 3, 0));
  EXPECT_THAT(history("gradient_history"), ElementsAre(0.25, 0.25, 0));

  const NoGradGuard no_grad;
  linear(x);
  EXPECT_THAT(history("x_history"), ElementsAre(0.5, 3, 0));
}

TEST(Float8Linear, CurrentScalingKeepsNoState) {
  Linear linear(16, 16);
  linear.use_float8({});
  EXPECT_EQ(linear.state_dict().size(), 2u);
}

// Cross-entropy of the last steps, of points on which a fixed random network decides.
double trained_loss(const std::function<void(Module&)>& prepare) {
  manual_seed(3);
  Net teacher(16), student(16);
  prepare(student);
  AdamW optimizer(decay_matrices(student, 0), {.lr = 3e-3});
  const AutocastGuard precision(DType::BFloat16);
  double late = 0;
  constexpr int kSteps = 80, kLate = 10;
  for (uint32_t step = 0; step < kSteps; ++step) {
    const Tensor x = normal({64, 32}, 0, 1, {.seed = 8, .op = step});
    Tensor target;
    {
      const NoGradGuard no_grad;
      target = argmax(teacher(x) * 4.0, -1);
    }
    optimizer.zero_grad();
    const Tensor loss = cross_entropy(student(x), target);
    loss.backward();
    optimizer.step();
    if (step >= kSteps - kLate) late += loss.item() / kLate;
  }
  return late;
}

TEST(Float8Linear, TrainsAsBFloat16Does) {
  const double start = std::log(16.0);
  const double bfloat16 = trained_loss([](Module&) {});
  const double current = trained_loss([](Module& m) { convert_to_float8(m); });
  const double delayed = trained_loss([](Module& m) {
    convert_to_float8(m, {.recipe = Float8Recipe::Delayed, .history = 8, .margin = 2});
  });
  EXPECT_LT(bfloat16, 0.6 * start);
  EXPECT_NEAR(current, bfloat16, 0.05 * bfloat16);
  EXPECT_NEAR(delayed, bfloat16, 0.05 * bfloat16);
  EXPECT_NE(current, bfloat16);
  EXPECT_NE(delayed, current);
}

}  // namespace
}  // namespace plinth::nn
