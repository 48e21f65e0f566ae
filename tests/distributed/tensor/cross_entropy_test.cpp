#include "distributed/tensor/cross_entropy.h"

#include <gtest/gtest.h>

#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "distributed/redistribute.h"
#include "distributed/simulated/simulated_group.h"
#include "tests/core/io/expect_error.h"
#include "tests/distributed/largest_difference.h"

namespace plinth::distributed {
namespace {

constexpr int64_t kVocabulary = 13, kFeatures = 6;

// 13 ids on 4 ranks: some have 4, some 3. In float64 nothing but the order of sums differs.
TEST(VocabularyCrossEntropy, GivesTheLossAndGradientsOfOneRank) {
  const Tensor x = normal({2, 5, kFeatures}, 0, 1, {.seed = 1}).to(DType::Float64);
  const Tensor weight = normal({kVocabulary, kFeatures}, 0, 1, {.seed = 2}).to(DType::Float64);
  const Tensor targets = from_values<int64_t>({0, 12, 3, -100, 4, 7, 9, -100, 12, 6}, {2, 5});
  const Tensor x_leaf = x.clone().set_requires_grad();
  const Tensor weight_leaf = weight.clone().set_requires_grad();
  const Tensor expected =
      linear_cross_entropy(x_leaf, weight_leaf, targets, {.reduction = Reduction::Sum}) * 0.25;
  expected.backward();

  run_ranks(4, [&](ProcessGroup& world) {
    const std::shared_ptr<ProcessGroup> group(std::shared_ptr<void>(), &world);  // of run_ranks
    const ShardRange own = shard_range(kVocabulary, 4, world.rank());
    const Tensor own_x = x.clone().set_requires_grad();
    const Tensor own_weight = weight.narrow(0, own.begin, own.count).clone().set_requires_grad();
    const Tensor loss =
        vocabulary_cross_entropy(own_x, own_weight, targets, kVocabulary, group) * 0.25;
    EXPECT_NEAR(loss.item(), expected.item(), 1e-13);
    loss.backward();
    const Tensor dx = own_x.grad().clone();
    group->all_reduce(dx).wait();
    EXPECT_LT(largest_difference(dx, x_leaf.grad()), 1e-13);
    EXPECT_LT(
        largest_difference(own_weight.grad(), weight_leaf.grad().narrow(0, own.begin, own.count)),
        1e-13);
  });
}

TEST(VocabularyCrossEntropy, RefusesOtherRowsThanItsOwn) {
  const auto group = make_simulated_groups(4)[1];
  const Tensor x = zeros({2, kFeatures}), targets = from_values<int64_t>({1, 13}, {2});
  expect_error(ErrorKind::Shape, "weight has shape [4, 6], expected [3, dim] on rank 1 of 4", [&] {
    vocabulary_cross_entropy(x, zeros({4, kFeatures}), targets, kVocabulary, group);
  });
  expect_error(ErrorKind::Argument, "13", [&] {
    vocabulary_cross_entropy(x, zeros({3, kFeatures}), targets, kVocabulary, group);
  });
}

}  // namespace
}  // namespace plinth::distributed
