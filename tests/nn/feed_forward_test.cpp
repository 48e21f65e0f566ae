// The feed-forward layers' other activations and inner dropout, and rows of a cache.

#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "nn/layers.h"
#include "tests/core/io/expect_error.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

Tensor times(const Tensor& x, const Module& module, const std::string& layer) {
  Linear linear(parameter(module, layer + ".weight"));
  return linear(x);
}

TEST(FeedForward, TakesAnotherActivation) {
  MLP mlp(6, 10, {.activation = relu, .bias = false});
  const Tensor x = randn({3, 6});
  EXPECT_EQ(to_vector(mlp(x)), to_vector(times(relu(times(x, mlp, "up")), mlp, "down")));
}

TEST(FeedForward, GatesByGelu) {
  GatedMLP mlp(6, 10, {.gelu = GeluForm::Tanh});
  const Tensor x = randn({3, 6});
  const Tensor gate = gelu(times(x, mlp, "gate"), GeluForm::Tanh);
  EXPECT_EQ(to_vector(mlp(x)), to_vector(times(gate * times(x, mlp, "up"), mlp, "down")));
}

// In training some of the inner values are 0, and the others larger.
TEST(FeedForward, DropsWhatIsBetween) {
  const Tensor x = ones({1, 4});
  const auto seen = [&](Layer& layer) {
    layer.train();
    const std::vector<double> a = to_vector(layer(x)), b = to_vector(layer(x));
    layer.eval();
    EXPECT_EQ(to_vector(layer(x)), to_vector(layer(x)));
    return a != b;
  };
  MLP mlp(4, 64, {.hidden_dropout = 0.5});
  GatedMLP gated(4, 64, {.hidden_dropout = 0.5});
  MLP plain(4, 64);
  EXPECT_TRUE(seen(mlp));
  EXPECT_TRUE(seen(gated));
  EXPECT_FALSE(seen(plain));
}

TEST(KVCache, SelectsRows) {
  const NoGradGuard no_grad;
  KVCache cache(2, 1, 4, 3);
  const Tensor keys = randn({2, 1, 2, 3}), values = randn({2, 1, 2, 3});
  cache.append(keys, values);
  cache.select(from_values<int64_t>({1, 1, 0}, {3}));
  EXPECT_EQ(cache.length(), 2);
  EXPECT_EQ(cache.capacity(), 4);
  const KVCache::View view = cache.append(zeros({3, 1, 1, 3}), zeros({3, 1, 1, 3}));
  ASSERT_EQ(view.keys.shape(), Shape({3, 1, 3, 3}));
  const std::vector<int64_t> rows = {1, 1, 0};
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t row = rows[static_cast<size_t>(i)];
    EXPECT_EQ(to_vector(view.keys.narrow(0, i, 1).narrow(2, 0, 2)),
              to_vector(keys.narrow(0, row, 1)));
    EXPECT_EQ(to_vector(view.values.narrow(0, i, 1).narrow(2, 0, 2)),
              to_vector(values.narrow(0, row, 1)));
  }
  expect_error(ErrorKind::Argument, "3", [&] { cache.select(from_values<int64_t>({3}, {1})); });
  EXPECT_EQ(cache.length(), 3);
}

}  // namespace
}  // namespace plinth::nn
