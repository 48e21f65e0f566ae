#include "distributed/expert/expert_parallel.h"

#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/random.h"
#include "distributed/expert/exchange.h"
#include "tests/core/io/expect_error.h"
#include "tests/distributed/on_ranks.h"

namespace plinth::distributed {
namespace {

using Group = std::shared_ptr<ProcessGroup>;
using Rows = std::vector<double>;

constexpr int64_t kDim = 4;

std::unique_ptr<nn::MixtureOfExperts> mixture_of(int64_t experts) {
  manual_seed(5);
  return std::make_unique<nn::MixtureOfExperts>(
      kDim, 3,
      nn::MixtureOfExpertsOptions{
          .experts = experts, .experts_per_token = 2, .options = {DType::Float64, {}}});
}

// A rank's tokens; the last rank has none.
Tensor tokens_of(int rank, int ranks) {
  const int64_t count = rank + 1 == ranks ? 0 : 3 + rank;
  return normal({count, kDim}, 0, 1, {.seed = 8, .op = static_cast<uint32_t>(rank)},
                {DType::Float64, {}});
}

void expect_close(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  const Rows x = to_vector(a), y = to_vector(b);
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 1e-12);
}

TEST(ExpertParallel, IsOneLayerWithAllExperts) {
  for (const auto& [ranks, experts] : {std::pair{2, 4}, {3, 5}, {4, 6}, {5, 5}}) {
    SCOPED_TRACE(testing::Message() << experts << " experts on " << ranks << " ranks");
    // One layer that sees all ranks' tokens one after another.
    const auto whole = mixture_of(experts);
    Tensors outputs, gradients;
    for (int rank = 0; rank < ranks; ++rank) {
      Tensor x = tokens_of(rank, ranks).set_requires_grad();
      const Tensor y = (*whole)(x);
      sum(square(y)).backward();
      outputs.push_back(y.detach());
      gradients.push_back(x.grad());
    }
    on_ranks(ranks, [&](const Group& group) {
      const auto layer = mixture_of(experts);
      spread_experts(*layer, group);
      Tensor x = tokens_of(group->rank(), ranks).set_requires_grad();
      const Tensor y = (*layer)(x);
      expect_close(y.detach(), outputs[group->rank()]);
      sum(square(y)).backward();
      expect_close(x.grad(), gradients[group->rank()]);
      const ShardRange own = own_experts(*layer, *group);
      for (int64_t e = 0; e < experts; ++e) {
        const Tensor weight = layer->expert(e).parameters()[0];
        const Tensor reference = whole->expert(e).parameters()[0].grad();
        const bool is_own = e >= own.begin && e < own.begin + own.count;
        if (!is_own || !reference.defined()) {
          EXPECT_FALSE(weight.grad().defined()) << "expert " << e;
        } else {
          expect_close(weight.grad(), reference);
        }
      }
    });
  }
}

TEST(ExpertParallel, RefusesMoreRanksThanExperts) {
  on_ranks(3, [](const Group& group) {
    const auto layer = mixture_of(2);
    expect_error(ErrorKind::Argument, "got 3 ranks of group world, takes at most the 2 experts",
                 [&] { spread_experts(*layer, group); });
  });
}

// Rank r sends r + s rows to rank s.
TEST(ExchangeRows, SendsGradientsTheWayBack) {
  constexpr int kRanks = 3;
  on_ranks(kRanks, [](const Group& group) {
    const int rank = group->rank();
    std::vector<int64_t> counts;
    Rows values, arrived;
    for (int other = 0; other < kRanks; ++other) {
      counts.push_back(rank + other);
      for (int64_t i = 0; i < rank + other; ++i) {
        values.push_back(100 * rank + 10 * other + static_cast<double>(i));
        arrived.push_back(100 * other + 10 * rank + static_cast<double>(i));
      }
    }
    const auto rows = static_cast<int64_t>(values.size());
    Tensor x = from_values(values, {rows, 1}).set_requires_grad();
    const Tensor y = exchange_rows(x, group, counts, counts);
    EXPECT_EQ(to_vector(y), arrived);
    sum(y * y.detach()).backward();
    EXPECT_EQ(to_vector(x.grad()), values);
  });
}

TEST(ExchangeRows, RefusesCountsThatDoNotAddUp) {
  on_ranks(2, [](const Group& group) {
    expect_error(ErrorKind::Shape, "3 of them are to be sent", [&] {
      exchange_rows(zeros({2, 1}), group, {1, 2}, {1, 1});
    });
  });
}

}  // namespace
}  // namespace plinth::distributed
