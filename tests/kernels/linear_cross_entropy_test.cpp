#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <random>
#include <vector>

#include "kernels/cross_entropy/cross_entropy.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
struct Tensors {
  LinearCrossEntropyDesc d;
  std::vector<T> x, w, dx;
  std::vector<int64_t> target;
  std::vector<compute_t<T>> loss, dw;

  Tensors(int64_t rows, int64_t dim, int64_t vocab, float smoothing = 0, float z_loss = 0) {
    d = {rows, dim, vocab, -100, smoothing, z_loss};
    std::mt19937 generator(rows * 31 + vocab);
    std::normal_distribution<float> normal(0, 0.7f);
    const auto fill = [&](auto& values, int64_t count) {
      values.resize(count);
      for (auto& value : values) value = normal(generator);
    };
    fill(x, rows * dim);
    fill(w, vocab * dim);
    fill(dw, vocab * dim);  // added to
    dx.resize(rows * dim);
    loss.resize(rows);
    for (int64_t r = 0; r < rows; ++r)
      target.push_back(r % 5 == 3 ? d.ignore_index : static_cast<int64_t>(generator() % vocab));
  }
  void run(float row_scale, bool with_dx = true, bool with_dw = true) {
    linear_cross_entropy(d, x.data(), w.data(), target.data(), loss.data(),
                         with_dx ? dx.data() : nullptr, with_dw ? dw.data() : nullptr,
                         static_cast<compute_t<T>>(row_scale));
  }
};

struct Reference {
  std::vector<double> loss, dx, dw;
};

template <class T>
Reference linear_cross_entropy_reference(const Tensors<T>& t, double row_scale) {
  const auto& d = t.d;
  Reference r{std::vector<double>(d.rows), std::vector<double>(d.rows * d.dim),
              std::vector<double>(t.dw.begin(), t.dw.end())};
  for (int64_t i = 0; i < d.rows; ++i) {
    if (t.target[i] == d.ignore_index) continue;
    std::vector<double> z(d.vocab);
    double total = 0, sum = 0;
    for (int64_t j = 0; j < d.vocab; ++j) {
      for (int64_t p = 0; p < d.dim; ++p)
        z[j] += double(t.x[i * d.dim + p]) * double(t.w[j * d.dim + p]);
      sum += z[j];
    }
    const double top = *std::max_element(z.begin(), z.end());
    for (const double value : z) total += std::exp(value - top);
    const double lse = top + std::log(total), e = d.label_smoothing;
    r.loss[i] = lse - (1 - e) * z[t.target[i]] - e / d.vocab * sum + d.z_loss * lse * lse;
    for (int64_t j = 0; j < d.vocab; ++j) {
      const double dz = row_scale * ((1 + 2 * d.z_loss * lse) * std::exp(z[j] - lse) -
                                     (j == t.target[i] ? 1 - e : 0) - e / d.vocab);
      for (int64_t p = 0; p < d.dim; ++p) {
        r.dx[i * d.dim + p] += dz * double(t.w[j * d.dim + p]);
        r.dw[j * d.dim + p] += dz * double(t.x[i * d.dim + p]);
      }
    }
  }
  return r;
}

template <class T>
void expect_near(const char* name, const std::vector<T>& got, const std::vector<double>& expected,
                 double tolerance) {
  double most = 0.1;
  for (const double value : expected) most = std::max(most, std::fabs(value));
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(double(got[i]), expected[i], tolerance * most) << name << " element " << i;
}

template <class T>
void expect_loss(Tensors<T> t) {
  SCOPED_TRACE(::testing::Message()
               << t.d.rows << " rows, dim " << t.d.dim << ", vocab " << t.d.vocab << ", smoothing "
               << t.d.label_smoothing << ", z loss " << t.d.z_loss);
  const float row_scale = 0.25f;
  const Reference expected = linear_cross_entropy_reference(t, row_scale);
  t.run(row_scale);
  const double sums = std::is_same_v<T, double> ? 1e-13 : 3e-6;
  const double dx = std::is_same_v<T, BFloat16>  ? 8e-3
                    : std::is_same_v<T, Float16> ? 1e-3
                                                 : 3 * sums;
  expect_near("loss", t.loss, expected.loss, sums);
  expect_near("dx", t.dx, expected.dx, dx);
  expect_near("dw", t.dw, expected.dw, sums);
}

template <class T>
class LinearCrossEntropy : public ::testing::Test {};
using Types = ::testing::Types<double, float, BFloat16, Float16>;
TYPED_TEST_SUITE(LinearCrossEntropy, Types);

TYPED_TEST(LinearCrossEntropy, MatchesTheDefinitionAtEveryRemainder) {
  for (const int64_t rows : {1, 2, 15, 70})
    for (const int64_t vocab : {1, 2, 33, 129, 500})
      expect_loss(Tensors<TypeParam>(rows, 17, vocab));
  for (const int64_t dim : {1, 16, 64, 100}) expect_loss(Tensors<TypeParam>(20, dim, 77));
}

TYPED_TEST(LinearCrossEntropy, MatchesTheDefinitionForALargeVocabulary) {
  expect_loss(Tensors<TypeParam>(90, 24, 9001));
  expect_loss(Tensors<TypeParam>(3, 40, 20000, 0.1f, 1e-3f));
}

TYPED_TEST(LinearCrossEntropy, SmoothsLabelsAndPenalisesLargeSums) {
  for (const int64_t vocab : {50, 6000}) {
    expect_loss(Tensors<TypeParam>(9, 20, vocab, 0.1f));
    expect_loss(Tensors<TypeParam>(9, 20, vocab, 0, 0.01f));
    expect_loss(Tensors<TypeParam>(9, 20, vocab, 0.2f, 0.01f));
  }
}

TYPED_TEST(LinearCrossEntropy, MatchesTheDefinitionOverManyChunks) {
  expect_loss(Tensors<TypeParam>(1100, 8, 1200));
}

TYPED_TEST(LinearCrossEntropy, LossAloneAndEitherGradientAloneAreTheSame) {
  for (const int64_t vocab : {40, 6000}) {
    Tensors<TypeParam> both(30, 16, vocab), none(30, 16, vocab), dx(30, 16, vocab),
        dw(30, 16, vocab);
    const auto before = none.dw;
    both.run(1);
    none.run(1, false, false);
    dx.run(1, true, false);
    dw.run(1, false, true);
    EXPECT_EQ(none.loss, both.loss);
    EXPECT_EQ(dx.loss, both.loss);
    EXPECT_EQ(dw.loss, both.loss);
    EXPECT_EQ(dw.dw, both.dw);
    EXPECT_EQ(dx.dw, before);
    for (size_t i = 0; i < dx.dx.size(); ++i) ASSERT_EQ(double(dx.dx[i]), double(both.dx[i]));
  }
}

TYPED_TEST(LinearCrossEntropy, IgnoredRowsGiveNothing) {
  for (const int64_t vocab : {40, 6000}) {
    Tensors<TypeParam> t(5, 16, vocab);
    std::fill(t.target.begin(), t.target.end(), t.d.ignore_index);
    const auto before = t.dw;
    t.run(1);
    for (const auto value : t.loss) EXPECT_EQ(value, 0);
    for (const auto& value : t.dx) EXPECT_EQ(double(value), 0);
    EXPECT_EQ(t.dw, before);
  }
}

TYPED_TEST(LinearCrossEntropy, LargeLogitsDoNotOverflow) {
  for (const int64_t vocab : {40, 6000}) {
    Tensors<TypeParam> t(5, 16, vocab);
    for (auto& value : t.x) value = static_cast<TypeParam>(float(value) * 100);
    const Reference expected = linear_cross_entropy_reference(t, 1);
    t.run(1);
    expect_near("loss", t.loss, expected.loss, 1e-5);
    for (const auto value : t.dw) ASSERT_TRUE(std::isfinite(value));
  }
}

TYPED_TEST(LinearCrossEntropy, NoRows) {
  expect_loss(Tensors<TypeParam>(0, 16, 40));
}

TYPED_TEST(LinearCrossEntropy, BitsDependOnTheShapeOnly) {
  for (const int64_t vocab : {300, 9000}) {
    Tensors<TypeParam> one(100, 16, vocab), three(100, 16, vocab);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    one.run(1);
    omp_set_num_threads(3);
    three.run(1);
    omp_set_num_threads(threads);
    EXPECT_EQ(one.loss, three.loss);
    EXPECT_EQ(one.dw, three.dw);
    for (size_t i = 0; i < one.dx.size(); ++i) ASSERT_EQ(double(one.dx[i]), double(three.dx[i]));
  }
}

TEST(FirstBadTarget, FindsTheFirst) {
  const int64_t targets[] = {0, -100, 9, 10, -1};
  EXPECT_EQ(first_bad_target(3, 10, -100, targets), -1);
  EXPECT_EQ(first_bad_target(5, 10, -100, targets), 3);
  EXPECT_EQ(first_bad_target(5, 11, -100, targets), 4);
  EXPECT_EQ(first_bad_target(5, 10, 7, targets), 1);
  EXPECT_EQ(first_bad_target(0, 10, -100, targets), -1);
}

}  // namespace
}  // namespace plinth::kernels::cpu
