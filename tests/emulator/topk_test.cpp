#include "kernels/topk/topk_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

// Fewer and more columns than lanes, rows that do not fill a block, shifts from alignment.
template <class T>
void expect_topk(int64_t rows, int64_t cols, int64_t k, int64_t shift = 0) {
  SCOPED_TRACE(testing::Message() << rows << " x " << cols << ", " << k << " of them");
  Buffer<T> x(rows * cols, shift);
  Buffer<int64_t> out(rows * k);
  x.fill_random(5);
  for (int64_t i = 0; i + 3 < rows * cols; i += 3) x[i + 3] = x[i];  // equal ones
  std::vector<int64_t> expected(rows * k);
  cpu::topk<T>(rows, cols, k, x.data(), expected.data());
  topk<T>(nullptr, rows, cols, k, x.data(), out.data());
  for (int64_t i = 0; i < rows * k; ++i) ASSERT_EQ(out[i], expected[i]) << "place " << i;
}

template <class T>
void expect_all_topk() {
  expect_topk<T>(1, 1, 1);
  expect_topk<T>(5, 8, 2);
  expect_topk<T>(9, 33, 33, 1);
  expect_topk<T>(3, 100, 7, 3);
  expect_topk<T>(2, 5, 0);
  expect_topk<T>(0, 5, 2);
}

TEST(TopKKernel, GivesThePositionsOfTheCpu) {
  expect_all_topk<float>();
  expect_all_topk<double>();
  expect_all_topk<BFloat16>();
  expect_all_topk<Float16>();
  expect_all_topk<int64_t>();
  expect_all_topk<int32_t>();
  expect_all_topk<uint8_t>();
}

TEST(TopKKernel, PutsNaNFirst) {
  Buffer<float> x(40);
  Buffer<int64_t> out(3);
  for (int64_t i = 0; i < 40; ++i) x[i] = static_cast<float>(i);
  x[7] = x[35] = std::numeric_limits<float>::quiet_NaN();
  topk<float>(nullptr, 1, 40, 3, x.data(), out.data());
  EXPECT_EQ(out[0], 7);
  EXPECT_EQ(out[1], 35);
  EXPECT_EQ(out[2], 39);
}

}  // namespace
}  // namespace plinth::kernels::cuda
