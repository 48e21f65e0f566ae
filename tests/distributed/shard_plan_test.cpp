// Who owns what, for sizes that nothing divides.

#include "distributed/shard_plan.h"

#include <gtest/gtest.h>

#include "core/ops/factories.h"
#include "tests/core/io/expect_error.h"

namespace plinth::distributed {
namespace {

// Parameters of these sizes, of units 0, 1, and 2, the rest, which lies in three places.
const std::vector<int64_t> kParameterSizes = {70, 3, 500, 17, 16, 900, 1, 33};
const std::vector<size_t> kUnits = {2, 0, 0, 0, 2, 1, 1, 2};

nn::FlatLayout layout() {
  Tensors tensors;
  for (const int64_t size : kParameterSizes) tensors.push_back(zeros({size}));
  return nn::FlatLayout(tensors);
}

class ShardPlanOf : public testing::TestWithParam<std::pair<int, int64_t>> {};

TEST_P(ShardPlanOf, EveryElementHasOneOwnerAndOnePlace) {
  const auto [ranks, chunk] = GetParam();
  const nn::FlatLayout flat = layout();
  std::vector<int> owners(flat.size(0));
  for (int rank = 0; rank < ranks; ++rank) {
    const ShardPlan plan(flat, kUnits, 3, chunk, rank, ranks);
    int64_t owned = 0;
    for (const ShardPlan::Owned& own : plan.owned()) {
      EXPECT_EQ(own.offset, owned);
      EXPECT_EQ(own.begin % chunk, 0);
      owned += own.size;
      for (int64_t i = own.begin; i < own.begin + own.size; ++i) ++owners[i];
    }
    EXPECT_EQ(plan.own_size(), owned);
    int64_t in_runs = 0, sizes = 0;
    for (const ShardUnit& unit : plan.units()) {
      int64_t end = 0;
      for (const ShardRun& run : unit.runs) {
        EXPECT_EQ(run.begin, end);
        EXPECT_EQ(run.counts[rank], run.own_size);
        end += run.size();
      }
      EXPECT_EQ(end, unit.size);
      sizes += unit.size;
      in_runs += unit.own_size();
    }
    EXPECT_EQ(in_runs, owned);
    EXPECT_EQ(sizes, flat.size(0));
  }
  for (const int count : owners) EXPECT_EQ(count, 1);
}

// The place of an element in a unit, and among what its owner has, by its place in the flat order.
TEST_P(ShardPlanOf, RunsAreWhatIsOwned) {
  const auto [ranks, chunk] = GetParam();
  const nn::FlatLayout flat = layout();
  for (int rank = 0; rank < ranks; ++rank) {
    const ShardPlan plan(flat, kUnits, 3, chunk, rank, ranks);
    for (const ShardUnit& unit : plan.units()) {
      for (const ShardRun& run : unit.runs) {
        for (int64_t i = 0; i < run.own_size; ++i) {
          int64_t in_flat = -1;
          for (size_t k = 0; k < unit.parameters.size(); ++k) {
            if (unit.offsets[k] <= run.own_begin + i)
              in_flat =
                  flat.places()[unit.parameters[k]].offset + run.own_begin + i - unit.offsets[k];
          }
          int64_t owned = -1;
          for (const ShardPlan::Owned& own : plan.owned()) {
            if (own.begin <= in_flat && in_flat < own.begin + own.size)
              owned = own.offset + in_flat - own.begin;
          }
          ASSERT_EQ(owned, run.own_offset + i);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, ShardPlanOf,
                         testing::Values(std::pair{1, 64}, std::pair{2, 64}, std::pair{3, 64},
                                         std::pair{8, 64}, std::pair{5, 16}, std::pair{4, 4096}));

TEST(ShardPlan, RefusesSeveralDtypes) {
  const nn::FlatLayout two({zeros({4}), zeros({4}, {DType::Float64, {}})});
  expect_error(ErrorKind::Argument, "got parameters of 2 dtypes or devices", [&] {
    ShardPlan(two, {0, 0}, 1, 64, 0, 2);
  });
}

}  // namespace
}  // namespace plinth::distributed
