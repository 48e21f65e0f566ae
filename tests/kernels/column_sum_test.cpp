#include "kernels/column_sum/column_sum.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
class ColumnSum : public ::testing::Test {};
TYPED_TEST_SUITE(ColumnSum, FloatTypes);

TYPED_TEST(ColumnSum, MatchesFloat64) {
  std::vector<Shape> shapes(std::begin(kShapes), std::end(kShapes));
  shapes.insert(shapes.end(), {{5000, 3}, {4097, 1}, {9, 5000}, {777, 600}});
  for (const Shape& s : shapes) {
    const auto x = random_values<TypeParam>(s.rows * s.cols, 1);
    std::vector<long double> sum(s.cols);
    for (int64_t i = 0; i < s.rows * s.cols; ++i) sum[i % s.cols] += as_double(x[i]);
    const std::vector<double> expected(sum.begin(), sum.end());
    std::vector<TypeParam> out(s.cols, TypeParam(7.0f));
    column_sum<TypeParam>(s.rows, s.cols, x.data(), out.data());
    expect_close(out, expected, 32, text(s), std::sqrt(s.rows));
  }
}

TEST(ColumnSumOfNothing, IsZero) {
  std::vector<float> out(9, 5);
  column_sum<float>(0, 9, nullptr, out.data());
  EXPECT_EQ(out, std::vector<float>(9, 0));
  column_sum<float>(9, 0, nullptr, nullptr);
}

TEST(ColumnSumDeterminism, HasTheSameBitsOnAnyNumberOfThreads) {
  for (const Shape& s : {Shape{3000, 96}, Shape{50, 5000}, Shape{20000, 2}}) {
    const auto x = random_values<float>(s.rows * s.cols, 1);
    expect_same_on_any_threads([&] {
      std::vector<float> out(s.cols);
      column_sum<float>(s.rows, s.cols, x.data(), out.data());
      return out;
    });
  }
}

}  // namespace
}  // namespace plinth::kernels::cpu
