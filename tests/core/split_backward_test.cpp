// Backward passes in two halves, and checkpoints of several results.

#include "core/split_backward.h"

#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/checkpoint.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/matmul.h"
#include "core/ops/normalization.h"
#include "core/ops/reduce.h"
#include "core/random.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

// Weights on the way from x, one of them twice, and one, `side`, beside it.
struct Model {
  Tensor first, second, gain, side;

  Model() {
    manual_seed(3);
    first = randn({5, 4}).set_requires_grad();
    second = randn({4, 5}).set_requires_grad();
    gain = randn({4}).set_requires_grad();
    side = randn({4}).set_requires_grad();
  }
  Tensor operator()(const Tensor& x) const {
    const Tensor inner = rms_norm(x, gain, 1e-6);
    const Tensor hidden = tanh(linear(inner, first));
    return linear(hidden, second) * exp(side) + linear(linear(x, first), second) * gain;
  }
  Tensors weights() const { return {first, second, gain, side}; }
};

std::vector<std::vector<double>> gradients_of(const Model& model) {
  std::vector<std::vector<double>> result;
  for (const Tensor& weight : model.weights()) result.push_back(to_vector(weight.grad()));
  return result;
}

TEST(SplitBackward, HasTheBitsOfOneBackward) {
  const Model whole, halves;
  const Tensor values = randn({3, 4}), gradient = randn({3, 4});
  Tensor x = values.clone().set_requires_grad();
  whole(x).backward(gradient);

  Tensor same = values.clone().set_requires_grad();
  SplitBackward split({halves(same)}, {gradient}, {same});
  EXPECT_EQ(to_vector(split.input_gradients()[0]), to_vector(x.grad()));
  EXPECT_FALSE(same.grad().defined());
  for (const Tensor& weight : halves.weights()) EXPECT_FALSE(weight.grad().defined());
  split.finish();
  EXPECT_EQ(gradients_of(halves), gradients_of(whole));
  EXPECT_FALSE(same.grad().defined());
}

// Two results of which one does not need x, and two inputs.
TEST(SplitBackward, TakesSeveralOutputsAndInputs) {
  const auto run = [](bool splits) {
    const Model model;
    Tensor x = randn({3, 4}).set_requires_grad(), z = randn({4}).set_requires_grad();
    const Tensors outputs = {model(x) * z, exp(z) * model.gain};
    const Tensors gradients = {randn({3, 4}), randn({4})};
    Tensors of_inputs;
    if (splits) {
      SplitBackward split(outputs, gradients, {x, z});
      of_inputs = split.input_gradients();
      split.finish();
    } else {
      backward(outputs, gradients);
      of_inputs = {x.grad(), z.grad()};
    }
    std::vector<std::vector<double>> all = gradients_of(model);
    for (const Tensor& gradient : of_inputs) all.push_back(to_vector(gradient));
    return all;
  };
  EXPECT_EQ(run(true), run(false));
}

TEST(SplitBackward, WithoutAnInputDoesAllAtTheEnd) {
  const Model whole, halves;
  const Tensor x = randn({3, 4});
  sum(whole(x)).backward();
  SplitBackward split({sum(halves(x))}, {}, {});
  EXPECT_FALSE(halves.first.grad().defined());
  split.finish();
  EXPECT_EQ(gradients_of(halves), gradients_of(whole));
}

TEST(SplitBackward, RunsHooksOnce) {
  Tensor x = ones({2}).set_requires_grad(), w = ones({2}).set_requires_grad();
  const Tensor y = x * w;
  int calls = 0;
  y.register_hook([&](const Tensor& gradient) {
    ++calls;
    return gradient * 2.0;
  });
  SplitBackward split({sum(y)}, {}, {x});
  split.finish();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(to_vector(split.input_gradients()[0]), (std::vector<double>{2, 2}));
  EXPECT_EQ(to_vector(w.grad()), (std::vector<double>{2, 2}));
}

TEST(SplitBackward, RefusesWhatItCannotSplit) {
  const Model model;
  Tensor x = randn({3, 4}), other = randn({1}).set_requires_grad();
  expect_error(ErrorKind::Argument, "an input takes no gradient",
               [&] { SplitBackward({sum(model(x))}, {}, {x}); });
  expect_error(ErrorKind::Argument, "an input does not matter",
               [&] { SplitBackward({sum(model(x))}, {}, {other}); });
  x.set_requires_grad();
  SplitBackward split({sum(model(x))}, {}, {x});
  split.finish();
  expect_error(ErrorKind::Argument, "finish() was called twice", [&] { split.finish(); });
}

TEST(CheckpointMany, GivesTheGradientsOfAllResults) {
  const Model plain, checkpointed;
  const Tensor values = randn({3, 4});
  const auto loss_of = [&](const Model& model, const Tensor& x, bool saves) {
    const auto f = [&model](const Tensors& in) -> Tensors {
      return {model(in[0]), sum(square(linear(in[0], model.first)))};
    };
    const Tensors out = saves ? checkpoint_many(f, {x}) : f({x});
    return sum(out[0]) + out[1] * 0.5;
  };
  Tensor x = values.clone().set_requires_grad(), same = values.clone().set_requires_grad();
  loss_of(plain, x, false).backward();
  loss_of(checkpointed, same, true).backward();
  EXPECT_EQ(gradients_of(checkpointed), gradients_of(plain));
  EXPECT_EQ(to_vector(same.grad()), to_vector(x.grad()));
}

}  // namespace
}  // namespace plinth
