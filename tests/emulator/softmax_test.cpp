#include "kernels/softmax/softmax_cuda.h"

#include <gtest/gtest.h>

#include "kernels/softmax/softmax.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct SoftmaxCase {
  int64_t rows, cols;
  int64_t shift = 0;  // in elements beyond a 16-byte boundary
};

// Each instance of the kernel, whole and with a remainder of rows and columns; then rows that no
// instance holds: odd, too long, or not aligned.
const SoftmaxCase kSoftmaxCases[] = {{1, 8},    {5, 256},   {9, 264},   {3, 512},   {7, 1000},
                                     {2, 1032}, {3, 2048},  {1, 4096},  {2, 4104},  {3, 1},
                                     {5, 7},    {3, 257},   {1, 8200},  {1, 16384}, {1, 16392},
                                     {1, 8203}, {1, 16387}, {3, 64, 1}, {5, 63, 3}};

// Against the CPU's float64 kernels, on the numbers that T holds.
template <class T>
void expect_softmax(const SoftmaxCase& c) {
  SCOPED_TRACE(testing::Message() << c.rows << " x " << c.cols << " shift " << c.shift);
  const int64_t n = c.rows * c.cols;
  Buffer<T> x(n, c.shift), y(n, c.shift), dy(n, c.shift), dx(n, c.shift);
  x.fill_random(1);
  dy.fill_random(2);
  const std::vector<double> in = x.values(), slopes = dy.values();
  std::vector<double> expected(n);

  softmax_forward<T>(nullptr, c.rows, c.cols, x.data(), y.data());
  cpu::softmax_forward<double>(c.rows, c.cols, in.data(), expected.data());
  expect_relative<T>(y.values(), expected, 8);
  const std::vector<double> p = y.values();
  softmax_backward<T>(nullptr, c.rows, c.cols, dy.data(), y.data(), dx.data());
  cpu::softmax_backward<double>(c.rows, c.cols, slopes.data(), p.data(), expected.data());
  expect_close<T>(dx.values(), expected, 4);

  log_softmax_forward<T>(nullptr, c.rows, c.cols, x.data(), y.data());
  cpu::log_softmax_forward<double>(c.rows, c.cols, in.data(), expected.data());
  expect_close<T>(y.values(), expected, 2);
  const std::vector<double> log_p = y.values();
  log_softmax_backward<T>(nullptr, c.rows, c.cols, dy.data(), y.data(), dx.data());
  cpu::log_softmax_backward<double>(c.rows, c.cols, slopes.data(), log_p.data(), expected.data());
  expect_close<T>(dx.values(), expected, 4);
}

TEST(SoftmaxKernel, Float32MatchesFloat64) {
  for (const SoftmaxCase& c : kSoftmaxCases) expect_softmax<float>(c);
}
TEST(SoftmaxKernel, BFloat16MatchesFloat64) {
  for (const SoftmaxCase& c : kSoftmaxCases) expect_softmax<BFloat16>(c);
}
TEST(SoftmaxKernel, Float16MatchesFloat64) {
  for (const SoftmaxCase& c : kSoftmaxCases) expect_softmax<Float16>(c);
}
TEST(SoftmaxKernel, Float64MatchesFloat64) {
  for (const SoftmaxCase& c : kSoftmaxCases) expect_softmax<double>(c);
}

TEST(SoftmaxKernel, RowsOfInfinitiesAndNaNFollowTheFormula) {
  for (const int64_t cols : {8, 300, 301}) {
    SCOPED_TRACE(cols);
    const int64_t rows = 5;
    Buffer<float> x(rows * cols), y(rows * cols), log_y(rows * cols);
    x.fill_random(1);
    for (int64_t j = 0; j < cols; ++j) x[j] = -std::numeric_limits<float>::infinity();
    x[cols + 3] = std::numeric_limits<float>::infinity();
    x[2 * cols + 5] = std::numeric_limits<float>::quiet_NaN();
    for (int64_t j = 0; j < cols - 1; ++j)
      x[3 * cols + j] = -std::numeric_limits<float>::infinity();
    x[3 * cols + cols - 1] = -1e30f;
    x[4 * cols] = 3e38f;  // its difference to the others overflows nowhere
    softmax_forward<float>(nullptr, rows, cols, x.data(), y.data());
    log_softmax_forward<float>(nullptr, rows, cols, x.data(), log_y.data());
    for (int64_t j = 0; j < 3 * cols; ++j) {
      EXPECT_TRUE(std::isnan(y[j]));
      EXPECT_TRUE(std::isnan(log_y[j]));
    }
    for (int64_t j = 0; j < cols; ++j) {
      EXPECT_EQ(y[3 * cols + j], j == cols - 1 ? 1 : 0);
      EXPECT_EQ(log_y[3 * cols + j], j == cols - 1 ? 0 : -kInfinity);
      EXPECT_EQ(y[4 * cols + j], j == 0 ? 1 : 0);
    }
  }
}

TEST(SoftmaxKernel, WritesWhereItReads) {
  for (const int64_t cols : {256, 77}) {
    const int64_t rows = 3, n = rows * cols;
    Buffer<float> x(n), y(n), dy(n), dx(n);
    x.fill_random(1);
    dy.fill_random(2);
    softmax_forward<float>(nullptr, rows, cols, x.data(), y.data());
    softmax_forward<float>(nullptr, rows, cols, x.data(), x.data());
    EXPECT_EQ(x.values(), y.values());
    softmax_backward<float>(nullptr, rows, cols, dy.data(), y.data(), dx.data());
    softmax_backward<float>(nullptr, rows, cols, dy.data(), x.data(), x.data());
    softmax_backward<float>(nullptr, rows, cols, dy.data(), y.data(), dy.data());
    EXPECT_EQ(x.values(), dx.values());
    EXPECT_EQ(dy.values(), dx.values());
  }
}

TEST(SoftmaxKernel, SameBitsInEveryOrderOfThreads) {
  const auto probabilities = [](uint64_t seed, int64_t cols) {
    device::emulation_seed() = seed;
    Buffer<float> x(2 * cols), y(2 * cols);
    x.fill_random(3);
    softmax_forward<float>(nullptr, 2, cols, x.data(), y.data());
    return y.values();
  };
  for (const int64_t cols : {2048, 999}) EXPECT_EQ(probabilities(1, cols), probabilities(2, cols));
}

}  // namespace
}  // namespace plinth::kernels::cuda
