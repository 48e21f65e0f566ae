// Pairs of least cost, against scipy's linear_sum_assignment: see tests/fixtures/README.md.

#include "models/vision/assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "core/io/json.h"
#include "tests/core/io/expect_error.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

double total_of(const std::vector<double>& cost, int64_t columns,
                const std::vector<int64_t>& pairs) {
  double total = 0;
  for (int64_t row = 0; row < std::ssize(pairs); ++row) {
    const int64_t column = pairs[static_cast<size_t>(row)];
    if (column >= 0) total += cost[static_cast<size_t>(row * columns + column)];
  }
  return total;
}

// Of which each column is one row's at most, and as many as can be.
void expect_pairing(const std::vector<int64_t>& pairs, int64_t rows, int64_t columns) {
  ASSERT_EQ(std::ssize(pairs), rows);
  std::set<int64_t> taken;
  for (const int64_t column : pairs) {
    if (column < 0) continue;
    EXPECT_LT(column, columns);
    EXPECT_TRUE(taken.insert(column).second) << column;
  }
  EXPECT_EQ(std::ssize(taken), std::min(rows, columns));
}

TEST(LeastCostPairs, AreThoseOfScipy) {
  int compared = 0;
  for (const auto& one : read_json(std::string(PLINTH_FIXTURES) + "/assignment/cases.json")) {
    const int64_t rows = one["rows"], columns = one["columns"];
    SCOPED_TRACE(testing::Message() << rows << " x " << columns);
    const std::vector<double> cost = one["cost"];
    const std::vector<int64_t> pairs = least_cost_pairs(cost, rows, columns);
    expect_pairing(pairs, rows, columns);
    EXPECT_NEAR(total_of(cost, columns, pairs), one["total"].get<double>(), 1e-9);
    if (!one.contains("pairs")) continue;  // several are best
    EXPECT_EQ(pairs, one["pairs"].get<std::vector<int64_t>>());
    ++compared;
  }
  EXPECT_EQ(compared, 20);
}

// Against all pairings, of whole numbers with many ties.
TEST(LeastCostPairs, AreTheBestOfAll) {
  constexpr int64_t kRows = 5, kColumns = 6;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::vector<double> cost;
    for (uint32_t i = 0; i < kRows * kColumns; ++i)
      cost.push_back(static_cast<double>((i * 2654435761U + seed * 40503U) >> 28U));
    std::vector<int64_t> order(kColumns);
    std::iota(order.begin(), order.end(), int64_t{0});
    double best = INFINITY;
    do {
      best = std::min(best, total_of(cost, kColumns, {order.begin(), order.begin() + kRows}));
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_EQ(total_of(cost, kColumns, least_cost_pairs(cost, kRows, kColumns)), best) << seed;
  }
}

TEST(LeastCostPairs, OfNothingAreNone) {
  EXPECT_TRUE(least_cost_pairs({}, 0, 4).empty());
  EXPECT_EQ(least_cost_pairs({}, 3, 0), (std::vector<int64_t>{-1, -1, -1}));
}

TEST(LeastCostPairs, RefusesWhatIsNoCost) {
  const std::vector<double> cost = {1, 2, 3, NAN};
  expect_error(ErrorKind::Shape, "cost has 4 numbers, expected 2 x 3",
               [&] { least_cost_pairs(cost, 2, 3); });
  expect_error(ErrorKind::Argument, "a number that is not finite",
               [&] { least_cost_pairs(cost, 2, 2); });
}

}  // namespace
}  // namespace plinth
