// Parameters that come and go.

#include "distributed/parameter_shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "distributed/simulated/simulated_group.h"
#include "tests/core/io/expect_error.h"

namespace plinth::distributed {
namespace {

constexpr int64_t kChunk = 16;

// What a rank has of a model of two units, which hold the same on all ranks.
struct Rank {
  explicit Rank(const std::shared_ptr<ProcessGroup>& group, bool whole = false)
      : plan(layout, {0, 1, 1}, 2, kChunk, group->rank(), group->size()),
        shards(group, plan, layout, parameters, whole) {}

  static Tensor parameter(int64_t rows, int64_t columns, int first) {
    std::vector<float> values(rows * columns);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(first + static_cast<int>(i));
    return from_values(values, {rows, columns}).set_requires_grad();
  }

  Tensors parameters = {parameter(7, 9, 0), parameter(5, 11, 1000), parameter(2, 3, 2000)};
  nn::FlatLayout layout{parameters};
  ShardPlan plan;
  ParameterShards shards;
};

// One thread speaks for all ranks, which only works since nothing waits before use().
TEST(ParameterShards, AreGatheredBesideWhatElseIsDone) {
  const auto groups = make_simulated_groups(3);
  std::vector<std::unique_ptr<Rank>> ranks;
  for (const auto& group : groups) ranks.push_back(std::make_unique<Rank>(group));
  const std::vector<double> first = to_vector(Rank::parameter(7, 9, 0));
  const std::vector<double> third = to_vector(Rank::parameter(2, 3, 2000));
  for (const auto& rank : ranks) {
    EXPECT_TRUE(std::isnan(to_vector(rank->parameters[0])[5]));
    EXPECT_EQ(rank->parameters[0].shape(), (Shape{7, 9}));
    rank->shards.fetch(0);
    rank->shards.fetch(1);
  }
  for (const auto& rank : ranks) {
    rank->shards.use(0);
    EXPECT_EQ(to_vector(rank->parameters[0]), first);
    EXPECT_TRUE(std::isnan(to_vector(rank->parameters[2])[0]));
    rank->shards.use(1);
    rank->shards.release(0);
    EXPECT_TRUE(std::isnan(to_vector(rank->parameters[0])[5]));
    EXPECT_EQ(to_vector(rank->parameters[2]), third);
  }
}

TEST(ParameterShards, ShowWhatTheirOwnersHaveWritten) {
  for (const bool whole : {false, true}) {
    run_ranks(3, [&](ProcessGroup& world) {
      Rank rank(std::shared_ptr<ProcessGroup>(&world, [](ProcessGroup*) {}), whole);
      const NoGradGuard no_grad;
      for (size_t u = 0; u < 2; ++u) {
        for (size_t r = 0; r < rank.plan.units()[u].runs.size(); ++r) rank.shards.own(u, r).mul_(2);
      }
      rank.shards.updated();
      rank.shards.use_all();
      EXPECT_THAT(to_vector(rank.parameters[2]),
                  testing::ElementsAre(4000, 4002, 4004, 4006, 4008, 4010));
      rank.parameters[2].fill_(1);
      rank.shards.take_own();
      rank.shards.release_all();
      EXPECT_EQ(std::isnan(to_vector(rank.parameters[2])[0]), !whole);
      rank.shards.use_all();
      EXPECT_THAT(to_vector(rank.parameters[2]), testing::Each(1));
    });
  }
}

// A graph reads what is there when it runs: what was gathered for it, or an error.
TEST(ParameterShards, AGraphReadsThemWhenItRuns) {
  run_ranks(2, [](ProcessGroup& world) {
    Rank rank(std::shared_ptr<ProcessGroup>(&world, [](ProcessGroup*) {}));
    const auto loss = [&] {
      rank.shards.use(1);
      const Tensor y = sum(mul(rank.parameters[2], rank.parameters[2]));
      rank.shards.release(1);
      return y;
    };
    const Tensor gathered = loss();
    rank.shards.use(1);
    gathered.backward();
    EXPECT_THAT(to_vector(rank.parameters[2].grad()),
                testing::ElementsAre(4000, 4002, 4004, 4006, 4008, 4010));
    rank.shards.release(1);
    const Tensor absent = loss();
    expect_error(ErrorKind::Argument, "was changed in place", [&] { absent.backward(); });
  });
}

}  // namespace
}  // namespace plinth::distributed
