#include "nn/layers/mixture_of_experts.h"

#include "core/autograd.h"
#include "core/gradcheck.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/ops/softmax.h"
#include "core/ops/views.h"
#include "core/random.h"
#include "tests/core/io/expect_error.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

constexpr int64_t kTokenDim = 4, kHidden = 3;

MixtureOfExperts mixture_of(int64_t experts, int64_t each, uint64_t seed = 1) {
  manual_seed(seed);
  return MixtureOfExperts(kTokenDim, kHidden,
                          {.experts = experts, .experts_per_token = each, .options = kFloat64});
}

// Every expert for every token, and of its outputs those that the router chose.
Tensor by_all_experts(const MixtureOfExperts& layer, const Tensor& x, int64_t each) {
  const Tensor router = layer.named_parameters()[0].tensor;
  const Tensor probabilities = softmax(linear(x, router), -1);
  const TopK chosen = topk(probabilities, each);
  Tensor y = zeros(x.shape(), x.options());
  for (int64_t e = 0; e < layer.expert_count(); ++e) {
    const Tensor is_chosen = eq(chosen.indices, static_cast<double>(e)).to(x.dtype());
    const Tensor weight =
        sum(chosen.values * is_chosen, {-1}, true) / sum(chosen.values, {-1}, true);
    y = y + layer.expert(e)(x) * weight;
  }
  return y;
}

TEST(MixtureOfExperts, IsTheWeightedSumOfEachTokensExperts) {
  for (const auto& [experts, each] : {std::pair{5, 2}, {3, 3}, {4, 1}, {1, 1}}) {
    MixtureOfExperts layer = mixture_of(experts, each);
    const Tensor x = randn({2, 7, kTokenDim}, kFloat64);
    const Tensor y = layer(x), expected = by_all_experts(layer, x, each);
    EXPECT_EQ(y.shape(), x.shape());
    EXPECT_LT(norm(y - expected).item(), 1e-12) << experts << " experts, " << each << " a token";
  }
}

TEST(MixtureOfExperts, HasTheGradientsOfFiniteDifferences) {
  MixtureOfExperts layer = mixture_of(4, 2);
  Tensors inputs = layer.parameters();
  inputs.push_back(randn({5, kTokenDim}, kFloat64).set_requires_grad());
  const auto both = [&](const Tensors& all) -> Tensors {
    Tensor load;
    const Tensor y = layer(all.back(), &load);
    return {y, load_balancing_loss({load})};
  };
  EXPECT_EQ(gradcheck(both, inputs), "");
}

TEST(MixtureOfExperts, RunsExpertsWhereItIsTold) {
  MixtureOfExperts layer = mixture_of(4, 2);
  const Tensor x = randn({6, kTokenDim}, kFloat64);
  const Tensor expected = layer(x);
  std::vector<int64_t> seen;
  layer.set_run_experts([&](const Tensor& rows, const std::vector<int64_t>& counts) {
    seen = counts;
    const int64_t half = counts[0] + counts[1];
    const std::vector<int64_t> front(counts.begin(), counts.begin() + 2);
    const std::vector<int64_t> back(counts.begin() + 2, counts.end());
    return cat({layer.run_experts(rows.narrow(0, 0, half), front),
                layer.run_experts(rows.narrow(0, half, rows.size(0) - half), back, 2)});
  });
  EXPECT_EQ(to_vector(layer(x)), to_vector(expected));
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0] + seen[1] + seen[2] + seen[3], 12);
}

// Experts without tokens get no gradient, and the layer takes no tokens at all.
TEST(MixtureOfExperts, TakesExpertsWithoutTokens) {
  MixtureOfExperts layer = mixture_of(8, 1);
  const Tensor x = randn({1, kTokenDim}, kFloat64).set_requires_grad();
  sum(layer(x)).backward();
  int64_t trained = 0;
  for (int64_t e = 0; e < 8; ++e) trained += layer.expert(e).parameters()[0].grad().defined();
  EXPECT_EQ(trained, 1);
  EXPECT_EQ(layer(zeros({0, kTokenDim}, kFloat64)).shape(), (Shape{0, kTokenDim}));
}

TEST(LoadBalancingLoss, IsExpertsPerTokenWhereAllAreUsedAlike) {
  const Tensor even = from_values<double>({0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5}, {2, 4});
  const Tensor one = from_values<double>({1, 0, 0, 0, 1, 1, 0, 0}, {2, 4});
  EXPECT_DOUBLE_EQ(load_balancing_loss({even, even}).item(), 2);
  EXPECT_DOUBLE_EQ(load_balancing_loss({one}).item(), 4);
}

TEST(MixtureOfExperts, RefusesExpertsThatThereAreNot) {
  expect_error(ErrorKind::Argument, "experts_per_token is 3, takes 1 to the 2 experts",
               [] { mixture_of(2, 3); });
  const auto layer = std::make_unique<MixtureOfExperts>(kTokenDim, kHidden);
  expect_error(ErrorKind::Argument, "got counts of experts 7 to 9, has 8", [&] {
    layer->run_experts(zeros({2, kTokenDim}), {1, 1}, 7);
  });
  expect_error(ErrorKind::Argument, "got no loads", [] { load_balancing_loss({}); });
}

}  // namespace
}  // namespace plinth::nn
