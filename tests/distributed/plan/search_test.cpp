#include "distributed/plan/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/distributed/plan/presets.h"

namespace plinth::plan {
namespace {

TEST(PlanSearch, PlansFitAreWholeAndSorted) {
  const Gpu& gpu = find_gpu("h200");
  const Workload work = workload("llama3-70b", 8192, 512);
  const SearchResult result = search(gpu, work, 256, 20);
  ASSERT_EQ(result.plans.size(), 20u);
  EXPECT_GE(result.fitting, 20);
  EXPECT_GT(result.tried, result.fitting);
  for (const Plan& plan : result.plans) {
    EXPECT_EQ(plan.strategy.ranks(), 256);
    EXPECT_NO_THROW(validate(work, plan.strategy));
    EXPECT_LE(plan.cost.memory.total(), kUsableMemory * gpu.memory_bytes);
    EXPECT_DOUBLE_EQ(plan.cost.seconds, step_cost(gpu, work, plan.strategy).seconds);
    EXPECT_GE(plan.cost.seconds, result.plans.front().cost.seconds);
  }
  EXPECT_TRUE(
      std::ranges::is_sorted(result.plans, {}, [](const Plan& plan) { return plan.cost.seconds; }));
}

// The bound by which the search leaves layouts out does not change what it finds.
TEST(PlanSearch, FindsTheSameHoweverFewAreKept) {
  const Gpu& gpu = find_gpu("h100");
  const Workload work = workload("llama3-8b", 8192, 128);
  const SearchResult all = search(gpu, work, 16, 100000);
  EXPECT_EQ(static_cast<int64_t>(all.plans.size()), all.fitting);
  const SearchResult few = search(gpu, work, 16, 3);
  ASSERT_EQ(few.plans.size(), 3u);
  EXPECT_EQ(few.fitting, all.fitting);
  for (size_t i = 0; i < few.plans.size(); ++i)
    EXPECT_DOUBLE_EQ(few.plans[i].cost.seconds, all.plans[i].cost.seconds);
}

TEST(PlanSearch, SixteenThousandGpus) {
  const SearchResult result =
      search(find_gpu("h100"), workload("llama3-405b", 8192, 2048), 16384, 1);
  ASSERT_EQ(result.plans.size(), 1u);
  // Meta trained so with tensor 8 and pipeline 16 (arXiv 2407.21783, table 4).
  EXPECT_EQ(result.plans.front().strategy.tensor, 8);
  EXPECT_EQ(result.plans.front().strategy.pipeline, 16);
}

TEST(PlanSearch, TooSmallAMemoryLeavesNoPlan) {
  const SearchResult result = search(find_gpu("h100"), workload("gpt3-175b", 2048, 8), 8, 5);
  EXPECT_TRUE(result.plans.empty());
  EXPECT_EQ(result.fitting, 0);
  EXPECT_GT(result.least_bytes, find_gpu("h100").memory_bytes);
}

TEST(PlanSearch, ImpossibleJobsAreRefused) {
  const Gpu& gpu = find_gpu("h100");
  const auto search_for = [&](int64_t batch, int64_t ranks, size_t most) {
    search(gpu, workload("llama3-8b", 8192, batch), ranks, most);
  };
  EXPECT_THROW(search_for(0, 8, 1), Error);
  EXPECT_THROW(search_for(8, 0, 1), Error);
  EXPECT_THROW(search_for(8, int64_t{1} << 40, 1), Error);
  EXPECT_THROW(search_for(8, 8, 0), Error);
  EXPECT_THROW(search_for(1, 11, 1), Error);  // no mesh of 11
  EXPECT_THROW(find_gpu("h300"), Error);
}

}  // namespace
}  // namespace plinth::plan
