#include "kernels/softmax/softmax.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> softmax_reference(const Shape& s, const std::vector<double>& x, bool log) {
  std::vector<double> y(x.size());
  for (int64_t i = 0; i < s.rows; ++i) {
    const double* row = x.data() + i * s.cols;
    const double m = *std::max_element(row, row + s.cols);
    double sum = 0;
    for (int64_t j = 0; j < s.cols; ++j) sum += std::exp(row[j] - m);
    for (int64_t j = 0; j < s.cols; ++j) {
      y[i * s.cols + j] = log ? row[j] - m - std::log(sum) : std::exp(row[j] - m) / sum;
    }
  }
  return y;
}

template <class T>
std::vector<T> forward(const Shape& s, const std::vector<T>& x, bool log) {
  std::vector<T> y(x.size());
  (log ? log_softmax_forward<T> : softmax_forward<T>)(s.rows, s.cols, x.data(), y.data());
  return y;
}

template <class T>
std::vector<T> backward(const Shape& s, const std::vector<T>& dy, const std::vector<T>& y,
                        bool log) {
  std::vector<T> dx(y.size());
  (log ? log_softmax_backward<T> : softmax_backward<T>)(s.rows, s.cols, dy.data(), y.data(),
                                                        dx.data());
  return dx;
}

template <class T>
class Softmax : public ::testing::Test {};
TYPED_TEST_SUITE(Softmax, FloatTypes);

TYPED_TEST(Softmax, ForwardMatchesFloat64) {
  for (bool log : {false, true}) {
    for (const Shape& s : kShapes) {
      const auto x = random_values<TypeParam>(s.rows * s.cols, 1, 4);
      expect_close(forward(s, x, log), softmax_reference(s, as_doubles(x), log), 8, text(s),
                   log ? 16 : 1);
    }
  }
}

TYPED_TEST(Softmax, BackwardMatchesFloat64) {
  for (bool log : {false, true}) {
    for (const Shape& s : kShapes) {
      const auto y = forward(s, random_values<TypeParam>(s.rows * s.cols, 1, 2), log);
      const auto dy = random_values<TypeParam>(s.rows * s.cols, 2);
      expect_close(backward(s, dy, y, log), backward(s, as_doubles(dy), as_doubles(y), log), 16,
                   text(s), 2 * std::sqrt(s.cols));
    }
  }
}

TEST(SoftmaxGradient, MatchesFiniteDifferences) {
  const Shape s{3, 11};
  const auto x = random_values<double>(33, 1), dy = random_values<double>(33, 2);
  for (bool log : {false, true}) {
    expect_gradient(
        backward(s, dy, forward(s, x, log), log),
        finite_difference([&](auto& v) { return dot(softmax_reference(s, v, log), dy); }, x), "dx");
  }
}

TYPED_TEST(Softmax, HugeLogitsDoNotOverflow) {
  const auto x = cast_vector<TypeParam>({60000, 60000, -60000, 0});
  const auto y = as_doubles(forward({1, 4}, x, false));
  EXPECT_EQ(y, (std::vector<double>{0.5, 0.5, 0, 0}));
}

TYPED_TEST(Softmax, MinusInfinityHasProbabilityZero) {
  for (int64_t cols : {2, 16, 35}) {
    std::vector<double> x(cols, -kInfinity);
    x[1] = 3;
    const auto y = as_doubles(forward({1, cols}, cast_vector<TypeParam>(x), false));
    const auto log_y = as_doubles(forward({1, cols}, cast_vector<TypeParam>(x), true));
    for (int64_t j = 0; j < cols; ++j) {
      EXPECT_EQ(y[j], j == 1 ? 1 : 0);
      EXPECT_EQ(log_y[j], j == 1 ? 0 : -kInfinity);
    }
  }
}

TYPED_TEST(Softmax, RowsWithoutAFiniteMaximumAreNaN) {
  const double nan = std::nan("");
  for (int64_t cols : {3, 16, 50}) {
    for (double bad : {kInfinity, nan, -kInfinity}) {
      std::vector<double> x(2 * cols, 1);
      if (bad == -kInfinity) {
        std::fill_n(x.begin(), cols, bad);
      } else {
        x[cols - 1] = bad;
      }
      for (bool log : {false, true}) {
        const auto y = as_doubles(forward({2, cols}, cast_vector<TypeParam>(x), log));
        EXPECT_TRUE(std::isnan(y[cols - 1])) << cols << " columns, " << bad;
        EXPECT_TRUE(std::isnan(y[0]) || log) << cols << " columns, " << bad;
        EXPECT_TRUE(std::isfinite(y[cols])) << "the row after it";
      }
    }
  }
}

TYPED_TEST(Softmax, OutputsMayOverwriteInputs) {
  const Shape s{5, 77};
  for (bool log : {false, true}) {
    auto x = random_values<TypeParam>(s.rows * s.cols, 1);
    const auto dy = random_values<TypeParam>(s.rows * s.cols, 2);
    const auto y = forward(s, x, log), dx = backward(s, dy, y, log);
    (log ? log_softmax_forward<TypeParam> : softmax_forward<TypeParam>)(s.rows, s.cols, x.data(),
                                                                        x.data());
    EXPECT_TRUE(same_bits(x, y));
    (log ? log_softmax_backward<TypeParam> : softmax_backward<TypeParam>)(s.rows, s.cols, dy.data(),
                                                                          x.data(), x.data());
    EXPECT_TRUE(same_bits(x, dx));
  }
}

}  // namespace
}  // namespace plinth::kernels::cpu
