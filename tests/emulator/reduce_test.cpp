#include <gtest/gtest.h>

#include <numeric>

#include "kernels/column_sum/column_sum.h"
#include "kernels/column_sum/column_sum_cuda.h"
#include "kernels/reduce/reduce_cuda.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

// Dimensions of a tensor: size, stride, and whether it is reduced.
struct Dim {
  int64_t size, stride;
  bool reduced;
};
struct ReductionCase {
  const char* name;
  std::vector<Dim> dims;
  int64_t first = 0;  // of the tensor in its buffer

  Reduction reduction() const {
    Reduction shape;
    int64_t outputs = 1;
    for (const Dim& d : dims) outputs *= d.reduced ? 1 : d.size;
    for (const Dim& d : dims) {
      if (d.reduced) {
        shape.reduced.size[shape.reduced.dims] = d.size;
        shape.reduced.stride[0][shape.reduced.dims++] = d.stride;
      } else {
        outputs /= std::max<int64_t>(1, d.size);
        shape.kept.size[shape.kept.dims] = d.size;
        shape.kept.stride[0][shape.kept.dims] = outputs;
        shape.kept.stride[1][shape.kept.dims++] = d.stride;
      }
    }
    return shape;
  }
  int64_t outputs() const {
    int64_t product = 1;
    for (const Dim& d : dims) product *= d.reduced ? 1 : d.size;
    return product;
  }
  int64_t reach() const {
    int64_t last = first;
    for (const Dim& d : dims) last += std::max<int64_t>(0, d.size - 1) * d.stride;
    return last + 1;
  }
};

const ReductionCase kReductionCases[] = {
    {"all of one row", {{1000, 1, true}}},
    {"all, in segments", {{40003, 1, true}}},
    {"rows of a warp", {{19, 96, false}, {96, 1, true}}},
    {"rows with a remainder", {{5, 101, false}, {101, 1, true}}},
    {"aligned rows with a remainder", {{5, 112, false}, {101, 1, true}}},
    {"misaligned rows", {{5, 96, false}, {96, 1, true}}, 1},
    {"rows of a block", {{3, 2304, false}, {2304, 1, true}}},
    {"few long rows, in segments", {{2, 16448, false}, {16448, 1, true}}},
    {"columns", {{37, 64, true}, {64, 1, false}}},
    {"columns, in segments", {{300, 40, true}, {40, 1, false}}},
    {"odd columns", {{150, 33, true}, {33, 1, false}}},
    {"many strips of columns", {{9, 1040, true}, {1040, 1, false}}},
    {"a middle dimension", {{3, 800, false}, {20, 40, true}, {40, 1, false}}},
    {"the outer and the inner", {{4, 200, true}, {5, 40, false}, {40, 1, true}}},
    {"two in the middle", {{2, 960, false}, {5, 192, true}, {6, 32, true}, {32, 1, false}}},
    {"a transposed matrix", {{50, 1, false}, {70, 50, true}}},
    {"every second element", {{4, 200, false}, {70, 2, true}}},
    {"neither contiguous", {{6, 3, false}, {80, 20, true}}},
    {"three elements each", {{500, 3, false}, {3, 1, true}}},
    {"one element each", {{70, 1, false}, {1, 1, true}}},
    {"nothing to reduce", {{5, 1, false}, {0, 1, true}}},
    {"no output", {{0, 1, false}, {4, 1, true}}},
};

template <class T>
void fill_terms(Buffer<T>& buffer, int64_t n) {
  std::mt19937_64 random(5);
  for (int64_t i = 0; i < n; ++i) {
    const auto whole = static_cast<int64_t>(random() % 2001) - 1000;
    if constexpr (std::is_integral_v<T>) {
      buffer[i] = static_cast<T>(whole);
    } else {
      buffer[i] = T(static_cast<float>(whole) * 0.002f);
    }
  }
}

// Runs `f(workspace)` with a workspace of exactly the bytes asked for.
template <class F>
void with_workspace(const Reduction& shape, F f) {
  Buffer<double> workspace(static_cast<int64_t>(reduce_workspace(shape) / sizeof(double)));
  f(static_cast<void*>(workspace.data()));
}

template <class T>
void expect_reductions_match_cpu() {
  for (const ReductionCase& c : kReductionCases) {
    const Reduction shape = c.reduction();
    Buffer<T> x(c.reach()), actual(c.outputs()), expected(c.outputs());
    fill_terms(x, c.reach());
    for (const ReduceOp op : {ReduceOp::Sum, ReduceOp::Mean, ReduceOp::Norm, ReduceOp::Prod,
                              ReduceOp::Max, ReduceOp::Min}) {
      // Long products of floats leave the range.
      const int64_t count = c.outputs() == 0 ? 0 : c.reach() / c.outputs();
      if (op == ReduceOp::Prod && !std::is_integral_v<T> && count > 8) continue;
      SCOPED_TRACE(testing::Message() << c.name << ", op " << static_cast<int>(op));
      with_workspace(shape, [&](void* workspace) {
        reduce(nullptr, op, shape, x.data() + c.first, actual.data(), workspace);
      });
      cpu::reduce(op, shape, x.data() + c.first, expected.data());
      const auto a = actual.values(), e = expected.values();
      // Of the sums on the way, as well as of the last.
      const double size = std::sqrt(static_cast<double>(count)) + 1;
      for (size_t i = 0; i < e.size(); ++i) {
        if (std::isnan(e[i])) {
          ASSERT_TRUE(std::isnan(a[i])) << "output " << i;
        } else if (std::is_integral_v<T> || std::isinf(e[i])) {
          ASSERT_EQ(a[i], e[i]) << "output " << i;
        } else {
          ASSERT_NEAR(a[i], e[i], 8 * rounding<T>() * std::max(size, std::fabs(e[i])))
              << "output " << i;
        }
      }
    }
  }
}

TEST(ReduceKernel, Float64MatchesTheCpu) {
  expect_reductions_match_cpu<double>();
}
TEST(ReduceKernel, Float32MatchesTheCpu) {
  expect_reductions_match_cpu<float>();
}
TEST(ReduceKernel, BFloat16MatchesTheCpu) {
  expect_reductions_match_cpu<BFloat16>();
}
TEST(ReduceKernel, Float16MatchesTheCpu) {
  expect_reductions_match_cpu<Float16>();
}
TEST(ReduceKernel, IntegersMatchTheCpuExactly) {
  expect_reductions_match_cpu<int64_t>();
  expect_reductions_match_cpu<int32_t>();
  expect_reductions_match_cpu<uint8_t>();
}

TEST(ReduceKernel, MaximumHandsNanOnAndInfinityIsSmaller) {
  const ReductionCase c{"rows", {{2, 40, false}, {40, 1, true}}};
  const Reduction shape = c.reduction();
  Buffer<float> x(80), out(2);
  for (int i = 0; i < 80; ++i) x[i] = static_cast<float>(i);
  x[17] = std::numeric_limits<float>::quiet_NaN();
  x[50] = std::numeric_limits<float>::infinity();
  reduce(nullptr, ReduceOp::Max, shape, x.data(), out.data(), nullptr);
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_EQ(out[1], std::numeric_limits<float>::infinity());
}

TEST(ReduceKernel, TheOrderOfASumDependsOnNeitherAlignmentNorThreads) {
  const ReductionCase c{"rows", {{3, 2308, false}, {2308, 1, true}}};
  const Reduction shape = c.reduction();
  Buffer<float> x(c.reach() + 1), moved(c.reach() + 1), first(3), second(3);
  x.fill_random(3);
  for (int64_t i = 0; i < c.reach(); ++i) moved[i + 1] = x[i];
  device::emulation_seed() = 1;
  reduce(nullptr, ReduceOp::Sum, shape, x.data(), first.data(), nullptr);
  device::emulation_seed() = 2;
  reduce(nullptr, ReduceOp::Sum, shape, moved.data() + 1, second.data(), nullptr);
  EXPECT_EQ(first.values(), second.values());
}

TEST(ReduceKernel, ArgmaxMatchesTheCpu) {
  for (const ReductionCase& c : kReductionCases) {
    const Reduction shape = c.reduction();
    if (c.outputs() == 0 || shape.reduced.size[0] == 0) continue;
    SCOPED_TRACE(c.name);
    Buffer<BFloat16> x(c.reach());
    Buffer<int64_t> actual(c.outputs()), expected(c.outputs());
    fill_terms(x, c.reach());  // rounded to bfloat16 many values are equal
    argmax(nullptr, shape, x.data() + c.first, actual.data());
    cpu::argmax(shape, x.data() + c.first, expected.data());
    ASSERT_EQ(actual.values(), expected.values());
  }
}

TEST(ReduceKernel, ArgmaxFindsTheFirstNan) {
  const Reduction shape = ReductionCase{"row", {{700, 1, true}}}.reduction();
  Buffer<float> x(700);
  Buffer<int64_t> out(1);
  for (int i = 0; i < 700; ++i) x[i] = static_cast<float>(i);
  x[300] = x[650] = std::numeric_limits<float>::quiet_NaN();
  argmax(nullptr, shape, x.data(), out.data());
  EXPECT_EQ(out[0], 300);
}

TEST(ReduceKernel, AnyAndAllMatchTheCpu) {
  for (const ReductionCase& c : kReductionCases) {
    const Reduction shape = c.reduction();
    SCOPED_TRACE(c.name);
    for (const int64_t period : {1, 7, 1000000}) {  // all true, some, one
      Buffer<bool> x(c.reach()), actual(c.outputs()), expected(c.outputs());
      for (int64_t i = 0; i < c.reach(); ++i) x[i] = (i + 1) % period == 0;
      with_workspace(shape, [&](void* workspace) {
        any(nullptr, shape, x.data() + c.first, actual.data(), workspace);
      });
      cpu::any(shape, x.data() + c.first, expected.data());
      ASSERT_EQ(actual.values(), expected.values());
      with_workspace(shape, [&](void* workspace) {
        all(nullptr, shape, x.data() + c.first, actual.data(), workspace);
      });
      cpu::all(shape, x.data() + c.first, expected.data());
      ASSERT_EQ(actual.values(), expected.values());
    }
  }
}

template <class T>
void expect_cumsum(int64_t rows, int64_t length) {
  SCOPED_TRACE(testing::Message() << rows << " rows of " << length);
  Buffer<T> x(rows * length), actual(rows * length), expected(rows * length);
  fill_terms(x, rows * length);
  cumsum(nullptr, rows, length, x.data(), actual.data());
  cpu::cumsum(rows, length, x.data(), expected.data());
  expect_close<T>(actual.values(), expected.values(), std::is_integral_v<T> ? 0 : 8);
}

TEST(CumsumKernel, MatchesTheCpu) {
  for (const int64_t length : {1, 3, 1000, 1024, 2051}) {
    expect_cumsum<float>(2, length);
    expect_cumsum<BFloat16>(1, length);
    expect_cumsum<double>(1, length);
    expect_cumsum<int64_t>(3, length);
    expect_cumsum<uint8_t>(1, length);
  }
  expect_cumsum<float>(0, 5);
  expect_cumsum<float>(5, 0);
}

template <class T>
void expect_column_sum(int64_t rows, int64_t cols) {
  SCOPED_TRACE(testing::Message() << rows << " x " << cols);
  Buffer<T> x(rows * cols), actual(cols), expected(cols);
  fill_terms(x, rows * cols);
  Buffer<double> workspace(static_cast<int64_t>(column_sum_workspace(rows, cols) / sizeof(double)));
  column_sum(nullptr, rows, cols, x.data(), actual.data(), workspace.data());
  cpu::column_sum(rows, cols, x.data(), expected.data());
  expect_close<T>(actual.values(), expected.values(), 4);
}

TEST(ColumnSumKernel, MatchesTheCpu) {
  for (const auto& [rows, cols] :
       {std::pair<int64_t, int64_t>{1, 1}, {0, 8}, {300, 24}, {129, 7}, {64, 512}}) {
    expect_column_sum<double>(rows, cols);
    expect_column_sum<float>(rows, cols);
    expect_column_sum<BFloat16>(rows, cols);
    expect_column_sum<Float16>(rows, cols);
  }
}

}  // namespace
}  // namespace plinth::kernels::cuda
