#include "kernels/topk/topk.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace plinth::kernels::cpu {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Few different values, so that many are equal.
template <class T>
std::vector<T> values(int64_t count) {
  std::mt19937 random(3);
  std::vector<T> result;
  for (int64_t i = 0; i < count; ++i)
    result.push_back(static_cast<T>(static_cast<float>(random() % 7)));
  return result;
}

template <class T>
void expect_topk(int64_t rows, int64_t cols, int64_t k) {
  const std::vector<T> x = values<T>(rows * cols);
  std::vector<int64_t> out(rows * k);
  topk<T>(rows, cols, k, x.data(), out.data());
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<int64_t> order(cols);
    std::iota(order.begin(), order.end(), int64_t{0});
    std::ranges::stable_sort(order, [&](int64_t i, int64_t j) {
      return static_cast<double>(x[r * cols + i]) > static_cast<double>(x[r * cols + j]);
    });
    order.resize(k);
    EXPECT_EQ(std::vector<int64_t>(out.begin() + r * k, out.begin() + (r + 1) * k), order);
  }
}

TEST(TopKKernel, IsTheStartOfAStableSort) {
  for (const auto& [rows, cols, k] :
       {std::tuple{1, 1, 1}, {3, 8, 2}, {5, 33, 33}, {2, 100, 0}, {700, 129, 4}}) {
    expect_topk<float>(rows, cols, k);
    expect_topk<double>(rows, cols, k);
    expect_topk<BFloat16>(rows, cols, k);
    expect_topk<Float16>(rows, cols, k);
    expect_topk<int64_t>(rows, cols, k);
    expect_topk<int32_t>(rows, cols, k);
    expect_topk<uint8_t>(rows, cols, k);
  }
}

TEST(TopKKernel, PutsNaNFirst) {
  const std::vector<double> x = {1, kNaN, 3, kNaN, std::numeric_limits<double>::infinity()};
  std::vector<int64_t> out(4);
  topk<double>(1, 5, 4, x.data(), out.data());
  EXPECT_EQ(out, (std::vector<int64_t>{1, 3, 4, 2}));
}

TEST(TopKKernel, GivesTheSameOnOneThread) {
  const int64_t rows = 2000, cols = 70, k = 5;
  const std::vector<float> x = values<float>(rows * cols);
  std::vector<int64_t> many(rows * k), one(rows * k);
  topk<float>(rows, cols, k, x.data(), many.data());
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  topk<float>(rows, cols, k, x.data(), one.data());
  omp_set_num_threads(threads);
  EXPECT_EQ(one, many);
}

}  // namespace
}  // namespace plinth::kernels::cpu
