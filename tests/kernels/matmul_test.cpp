#include "kernels/matmul/matmul.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <random>
#include <vector>

namespace plinth::kernels::cpu {
namespace {

enum class Layout { Rows, Columns, PaddedRows, PaddedColumns };

// Strides of [batch, rows, columns] in a layout; the batch stride follows.
std::array<int64_t, 3> strides(Layout layout, int64_t rows, int64_t columns) {
  const int64_t pad = layout == Layout::PaddedRows || layout == Layout::PaddedColumns ? 3 : 0;
  if (layout == Layout::Rows || layout == Layout::PaddedRows)
    return {rows * (columns + pad), columns + pad, 1};
  return {columns * (rows + pad), 1, rows + pad};
}

template <class T>
std::vector<T> random(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(uniform(generator));
  return values;
}

struct Case {
  int64_t batch, m, n, k;
  Layout a = Layout::Rows, b = Layout::Rows, c = Layout::Rows;
  bool accumulate = false, bias = false;
};

template <class T>
double epsilon() {
  if (std::is_same_v<T, double>) return 0x1p-52;
  if (std::is_same_v<T, float>) return 0x1p-23;
  return std::is_same_v<T, BFloat16> ? 0x1p-8 : 0x1p-11;
}

template <class T>
struct MatmulProblem {
  MatmulDesc desc;
  std::vector<T> a, b, c, bias;

  explicit MatmulProblem(const Case& x) {
    desc = {x.batch,
            x.m,
            x.n,
            x.k,
            strides(x.a, x.m, x.k),
            strides(x.b, x.k, x.n),
            strides(x.c, x.m, x.n),
            x.accumulate};
    a = random<T>(x.batch * desc.a[0] + 1, 1);
    b = random<T>(x.batch * desc.b[0] + 1, 2);
    c = random<T>(x.batch * desc.c[0] + 1, 3);
    if (x.bias) bias = random<T>(x.n, 4);
  }
  void run() { matmul(desc, a.data(), b.data(), c.data(), bias.empty() ? nullptr : bias.data()); }
};

// Compares with a float64 loop. The bound is that of any order of summation in the compute type,
// plus one rounding to T; elements of c between the rows must stay as they were.
template <class T>
void expect_product(const Case& x) {
  SCOPED_TRACE(::testing::Message()
               << x.batch << " x " << x.m << " x " << x.n << " x " << x.k << " layouts " << int(x.a)
               << int(x.b) << int(x.c) << " accumulate " << x.accumulate);
  MatmulProblem<T> p(x);
  const std::vector<T> before = p.c;
  std::vector<double> expected(before.begin(), before.end()), bound(before.size(), 0.0);
  for (int64_t s = 0; s < x.batch; ++s) {
    for (int64_t i = 0; i < x.m; ++i) {
      for (int64_t j = 0; j < x.n; ++j) {
        const int64_t at = s * p.desc.c[0] + i * p.desc.c[1] + j * p.desc.c[2];
        double sum = x.accumulate ? expected[at] : 0, magnitude = std::fabs(sum);
        if (x.bias) sum += p.bias[j];
        for (int64_t q = 0; q < x.k; ++q) {
          const double term = double(p.a[s * p.desc.a[0] + i * p.desc.a[1] + q * p.desc.a[2]]) *
                              double(p.b[s * p.desc.b[0] + q * p.desc.b[1] + j * p.desc.b[2]]);
          sum += term;
          magnitude += std::fabs(term);
        }
        expected[at] = sum;
        bound[at] = epsilon<T>() * std::fabs(sum) +
                    epsilon<compute_t<T>>() * (2 + std::sqrt(x.k)) * (magnitude + 1);
      }
    }
  }
  p.run();
  for (size_t i = 0; i < p.c.size(); ++i) {
    ASSERT_LE(std::fabs(double(p.c[i]) - expected[i]), bound[i])
        << "element " << i << " got " << double(p.c[i]) << " expected " << expected[i];
  }
}

template <class T>
class Matmul : public ::testing::Test {};
using Types = ::testing::Types<double, float, BFloat16, Float16>;
TYPED_TEST_SUITE(Matmul, Types);

TYPED_TEST(Matmul, MatchesALoopAtEveryRemainder) {
  for (const int64_t m : {1, 2, 3, 5, 13, 14, 15, 29})
    for (const int64_t n : {1, 7, 16, 31, 32, 33, 70})
      for (const int64_t k : {1, 2, 15, 17, 33}) expect_product<TypeParam>({1, m, n, k});
}

TYPED_TEST(Matmul, TakesEveryLayout) {
  const Layout layouts[] = {Layout::Rows, Layout::Columns, Layout::PaddedRows,
                            Layout::PaddedColumns};
  for (const Layout a : layouts)
    for (const Layout b : layouts)
      for (const Layout c : layouts)
        for (const int64_t m : {1, 4, 37}) expect_product<TypeParam>({2, m, 45, 35, a, b, c});
}

TYPED_TEST(Matmul, AddsBiasAndAccumulates) {
  for (const bool accumulate : {false, true})
    for (const bool bias : {false, true})
      for (const Layout b : {Layout::Rows, Layout::Columns})
        for (const int64_t m : {1, 3, 20})
          for (const int64_t k : {5, 40, 4200})
            expect_product<TypeParam>(
                {1, m, 37, k, Layout::Rows, b, Layout::PaddedRows, accumulate, bias});
}

TYPED_TEST(Matmul, MatchesALoopWhereBlocksMeet) {
  expect_product<TypeParam>({1, 157, 301, 90});
  expect_product<TypeParam>({1, 20, 40, 4200, Layout::Columns, Layout::Columns});
  expect_product<TypeParam>({1, 3, 60, 1100, Layout::Rows, Layout::Columns});
}

TYPED_TEST(Matmul, EmptyDimensions) {
  expect_product<TypeParam>({1, 5, 6, 0});
  expect_product<TypeParam>({1, 5, 6, 0, Layout::Rows, Layout::Rows, Layout::Rows, true, true});
  expect_product<TypeParam>({1, 1, 6, 0, Layout::Rows, Layout::Columns, Layout::Rows, false, true});
  expect_product<TypeParam>({0, 5, 6, 7});
  expect_product<TypeParam>({2, 0, 6, 7});
  expect_product<TypeParam>({2, 5, 0, 7});
}

TYPED_TEST(Matmul, BatchStrideOfZeroSharesAnOperand) {
  MatmulProblem<TypeParam> shared({6, 5, 7, 9}), whole({6, 5, 7, 9});
  for (int64_t s = 1; s < 6; ++s) std::copy_n(whole.b.begin(), 63, whole.b.begin() + s * 63);
  shared.desc.b[0] = 0;
  shared.run();
  whole.run();
  for (int64_t i = 0; i < 6 * 35; ++i) EXPECT_EQ(double(shared.c[i]), double(whole.c[i]));
}

TYPED_TEST(Matmul, BitsDoNotDependOnTheThreads) {
  const Case x{1, 300, 290, 700, Layout::Rows, Layout::Columns};
  MatmulProblem<TypeParam> one(x), three(x);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  one.run();
  omp_set_num_threads(3);
  three.run();
  omp_set_num_threads(threads);
  for (size_t i = 0; i < one.c.size(); ++i) ASSERT_EQ(double(one.c[i]), double(three.c[i]));
}

TYPED_TEST(Matmul, BitsOfMoreThanFourRowsDoNotDependOnTheLayout) {
  const auto product = [](int64_t m, Layout a, Layout b) {
    MatmulProblem<TypeParam> p({1, m, 45, 70, a, b});
    for (int64_t q = 0; q < 70; ++q) {
      for (int64_t i = 0; i < m; ++i)
        p.a[i * p.desc.a[1] + q * p.desc.a[2]] = TypeParam(std::sin(float(i * 71 + q)));
      for (int64_t j = 0; j < 45; ++j)
        p.b[q * p.desc.b[1] + j * p.desc.b[2]] = TypeParam(std::cos(float(q * 47 + j)));
    }
    p.run();
    return std::vector<double>(p.c.begin(), p.c.end());
  };
  for (const int64_t m : {5, 14, 37}) {
    const std::vector<double> expected = product(m, Layout::Rows, Layout::Rows);
    for (const Layout a : {Layout::Rows, Layout::Columns})
      for (const Layout b : {Layout::Columns, Layout::PaddedRows})
        EXPECT_EQ(product(m, a, b), expected) << m << " rows";
  }
}

TYPED_TEST(Matmul, NanAndInfinityReachOnlyTheirRowsAndColumns) {
  MatmulProblem<TypeParam> p({1, 17, 40, 20});
  p.a[3 * 20 + 5] = std::numeric_limits<float>::quiet_NaN();
  p.b[7 * 40 + 33] = std::numeric_limits<float>::infinity();
  p.run();
  for (int64_t i = 0; i < 17; ++i) {
    for (int64_t j = 0; j < 40; ++j) {
      const double value = p.c[i * 40 + j];
      EXPECT_EQ(std::isnan(value), i == 3);
      EXPECT_EQ(std::isinf(value), i != 3 && j == 33);
    }
  }
}

}  // namespace
}  // namespace plinth::kernels::cpu
