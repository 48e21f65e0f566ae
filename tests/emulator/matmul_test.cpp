#include "kernels/matmul/matmul_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

enum class MatrixLayout { RowMajor, ColumnMajor, Gaps };

// Strides (batch, row, column) of [batch, rows, cols], and the elements that they reach.
std::array<int64_t, 3> strides_of(MatrixLayout layout, int64_t rows, int64_t cols) {
  switch (layout) {
    case MatrixLayout::RowMajor: return {rows * cols, cols, 1};
    case MatrixLayout::ColumnMajor: return {rows * cols, 1, rows};
    default: return {rows * cols * 6, cols * 3, 2};
  }
}
int64_t reach(MatrixLayout layout, int64_t batch, int64_t rows, int64_t cols) {
  return batch * rows * cols * (layout == MatrixLayout::Gaps ? 6 : 1);
}

struct MatmulCase {
  int64_t batch, m, n, k;
  MatrixLayout a, b, c;
  bool accumulate, bias;
};

template <class T>
void expect_product(const MatmulCase& t) {
  SCOPED_TRACE(testing::Message() << t.batch << " of " << t.m << " x " << t.n << " x " << t.k);
  MatmulDesc desc{.batch = t.batch, .m = t.m, .n = t.n, .k = t.k};
  desc.a = strides_of(t.a, t.m, t.k);
  desc.b = strides_of(t.b, t.k, t.n);
  desc.c = strides_of(t.c, t.m, t.n);
  desc.accumulate = t.accumulate;
  Buffer<T> a(reach(t.a, t.batch, t.m, t.k)), b(reach(t.b, t.batch, t.k, t.n));
  Buffer<T> c(reach(t.c, t.batch, t.m, t.n)), bias(t.n);
  a.fill_random(1);
  b.fill_random(2);
  c.fill_random(3);
  bias.fill_random(4);
  const auto va = a.values(), vb = b.values(), vbias = bias.values();
  std::vector<double> expected = c.values();  // what lies between c's elements stays
  for (int64_t z = 0; z < t.batch; ++z) {
    for (int64_t i = 0; i < t.m; ++i) {
      for (int64_t j = 0; j < t.n; ++j) {
        double sum = t.bias ? vbias[j] : 0;
        for (int64_t p = 0; p < t.k; ++p) {
          sum += va[z * desc.a[0] + i * desc.a[1] + p * desc.a[2]] *
                 vb[z * desc.b[0] + p * desc.b[1] + j * desc.b[2]];
        }
        double& target = expected[z * desc.c[0] + i * desc.c[1] + j * desc.c[2]];
        target = t.accumulate ? target + sum : sum;
      }
    }
  }
  matmul(nullptr, desc, a.data(), b.data(), c.data(), t.bias ? bias.data() : nullptr);
  expect_close<T>(c.values(), expected, 4);
}

constexpr auto kRow = MatrixLayout::RowMajor;
constexpr auto kColumn = MatrixLayout::ColumnMajor;
const MatmulCase kMatmulCases[] = {
    {1, 64, 64, 16, kRow, kRow, kRow, false, false},
    {1, 1, 1, 1, kRow, kRow, kRow, false, true},
    {1, 65, 67, 33, kRow, kColumn, kRow, false, true},
    {1, 70, 130, 50, kColumn, kRow, kRow, true, false},
    {3, 5, 9, 20, kColumn, kColumn, kColumn, true, true},
    {2, 17, 30, 7, MatrixLayout::Gaps, MatrixLayout::Gaps, MatrixLayout::Gaps, false, true},
    {2, 3, 4, 0, kRow, kRow, kRow, false, true},
    {2, 3, 4, 0, kRow, kRow, kRow, true, false},
    {0, 3, 4, 5, kRow, kRow, kRow, false, false},
    {1, 0, 4, 5, kRow, kRow, kRow, false, false},
};

TEST(MatmulKernel, Float64MatchesTheSum) {
  for (const MatmulCase& c : kMatmulCases) expect_product<double>(c);
}
TEST(MatmulKernel, Float32MatchesTheSum) {
  for (const MatmulCase& c : kMatmulCases) expect_product<float>(c);
}
TEST(MatmulKernel, BFloat16MatchesTheSum) {
  for (const MatmulCase& c : kMatmulCases) expect_product<BFloat16>(c);
}
TEST(MatmulKernel, Float16MatchesTheSum) {
  for (const MatmulCase& c : kMatmulCases) expect_product<Float16>(c);
}

TEST(MatmulKernel, ABatchStrideOfZeroSharesAnOperand) {
  Buffer<float> a(3 * 4), b(2 * 4 * 5), c(2 * 3 * 5), one(3 * 5);
  a.fill_random(1);
  b.fill_random(2);
  MatmulDesc desc{.batch = 2, .m = 3, .n = 5, .k = 4};
  desc.a = {0, 4, 1};
  desc.b = {20, 5, 1};
  desc.c = {15, 5, 1};
  matmul<float>(nullptr, desc, a.data(), b.data(), c.data());
  desc.batch = 1;
  matmul<float>(nullptr, desc, a.data(), b.data() + 20, one.data());
  for (int i = 0; i < 15; ++i) EXPECT_EQ(c[15 + i], one[i]);
}

}  // namespace
}  // namespace plinth::kernels::cuda
