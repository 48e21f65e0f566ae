#include "data/loader/permutation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

std::vector<int64_t> all(int64_t size, uint64_t seed, uint64_t stream) {
  const Permutation permutation(size, seed, stream);
  std::vector<int64_t> values;
  for (int64_t i = 0; i < size; ++i) values.push_back(permutation(i));
  return values;
}

TEST(Permutation, HitsEachNumberOnce) {
  for (const int64_t size :
       {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 4096, 4097, 65537}) {
    std::vector<bool> seen(static_cast<size_t>(size));
    for (const int64_t value : all(size, 5, 1)) {
      ASSERT_GE(value, 0);
      ASSERT_LT(value, size);
      ASSERT_FALSE(seen[static_cast<size_t>(value)]) << size << " gives " << value << " twice";
      seen[static_cast<size_t>(value)] = true;
    }
  }
}

TEST(Permutation, DependsOnSeedAndStreamOnly) {
  EXPECT_EQ(all(1000, 1, 2), all(1000, 1, 2));
  EXPECT_NE(all(1000, 1, 2), all(1000, 1, 3));
  EXPECT_NE(all(1000, 1, 2), all(1000, 2, 2));
  EXPECT_NE(all(1000, 1, 2), all(1000, 2, 1));
}

// Over many keys, each index should land everywhere equally often: a chi-squared statistic of each
// index, which for n - 1 degrees of freedom has mean n - 1 and variance 2 (n - 1).
TEST(Permutation, SpreadsEachIndexEvenly) {
  constexpr int kKeys = 4000;
  for (const int64_t size : {3, 5, 10, 37}) {
    std::vector<std::vector<int>> counts(static_cast<size_t>(size),
                                         std::vector<int>(static_cast<size_t>(size)));
    for (uint64_t key = 0; key < kKeys; ++key) {
      const std::vector<int64_t> values = all(size, 42, key);
      for (size_t i = 0; i < values.size(); ++i) ++counts[i][static_cast<size_t>(values[i])];
    }
    const double expected = static_cast<double>(kKeys) / static_cast<double>(size);
    const double freedom = static_cast<double>(size - 1);
    for (const std::vector<int>& row : counts) {
      double statistic = 0;
      for (const int count : row) statistic += (count - expected) * (count - expected) / expected;
      EXPECT_LT(statistic, freedom + 6 * std::sqrt(2 * freedom)) << "size " << size;
    }
  }
}

// Neighbours should not stay neighbours.
TEST(Permutation, BreaksUpRuns) {
  const std::vector<int64_t> values = all(10000, 1, 0);
  int close = 0;
  for (size_t i = 1; i < values.size(); ++i) close += std::abs(values[i] - values[i - 1]) <= 10;
  EXPECT_LT(close, 60);  // 20 are expected
}

TEST(Permutation, TakesLargeSizesAndRefusesTheRest) {
  const int64_t large = int64_t{1} << 62;
  const Permutation permutation(large, 1, 1);
  EXPECT_NE(permutation(0), permutation(large - 1));
  expect_error(ErrorKind::Argument, "index is -1", [&] { permutation(-1); });
  expect_error(ErrorKind::Argument, "index is 5, expected 0 to 4", [] { Permutation(5, 1, 1)(5); });
  expect_error(ErrorKind::Argument, "size is 0", [] { Permutation(0, 1, 1); });
  expect_error(ErrorKind::Argument, "expected 1 to 2^62", [&] { Permutation(large + 1, 1, 1); });
}

}  // namespace
}  // namespace plinth
