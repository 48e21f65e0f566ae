#include "kernels/cross_entropy/cross_entropy.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

std::vector<int64_t> random_targets(int64_t rows, int64_t classes) {
  std::mt19937 generator(7);
  std::vector<int64_t> target(rows);
  for (int64_t& t : target) t = static_cast<int64_t>(generator() % classes);
  return target;
}

std::vector<double> cross_entropy_reference(const CrossEntropyDesc& desc,
                                            const std::vector<double>& x,
                                            const std::vector<int64_t>& target) {
  std::vector<double> loss(desc.rows, 0);
  for (int64_t i = 0; i < desc.rows; ++i) {
    if (target[i] == desc.ignore_index) continue;
    const double* row = x.data() + i * desc.classes;
    double sum = 0;
    for (int64_t j = 0; j < desc.classes; ++j) sum += std::exp(row[j]);
    for (int64_t j = 0; j < desc.classes; ++j) {
      const double wanted =
          desc.label_smoothing / desc.classes + (j == target[i] ? 1 - desc.label_smoothing : 0);
      loss[i] -= wanted * (row[j] - std::log(sum));
    }
  }
  return loss;
}

template <class T>
struct CrossEntropyProblem {
  using C = compute_t<T>;
  CrossEntropyDesc desc;
  std::vector<T> x, dlogits;
  std::vector<int64_t> target;
  std::vector<C> loss, lse, dloss;

  CrossEntropyProblem(const Shape& s, double smoothing)
      : desc{.rows = s.rows, .classes = s.cols, .label_smoothing = smoothing},
        x(random_values<T>(s.rows * s.cols, 1, 2)),
        dlogits(x.size()),
        target(random_targets(s.rows, s.cols)),
        loss(s.rows),
        lse(s.rows),
        dloss(random_values<C>(s.rows, 3)) {
    if (s.rows > 2) target[1] = desc.ignore_index;
  }
  void forward() {
    cross_entropy_forward<T>(desc, x.data(), target.data(), loss.data(), lse.data());
  }
  void backward() {
    cross_entropy_backward<T>(desc, dloss.data(), x.data(), target.data(), lse.data(),
                              dlogits.data());
  }
};

template <class T>
class CrossEntropy : public ::testing::Test {};
TYPED_TEST_SUITE(CrossEntropy, FloatTypes);

TYPED_TEST(CrossEntropy, ForwardMatchesFloat64) {
  for (double smoothing : {0.0, 0.1, 1.0}) {
    for (const Shape& s : kShapes) {
      CrossEntropyProblem<TypeParam> p(s, smoothing);
      p.forward();
      expect_close(p.loss, cross_entropy_reference(p.desc, as_doubles(p.x), p.target), 16, text(s),
                   8);
    }
  }
}

TYPED_TEST(CrossEntropy, BackwardMatchesFloat64) {
  for (double smoothing : {0.0, 0.1}) {
    for (const Shape& s : kShapes) {
      CrossEntropyProblem<TypeParam> p(s, smoothing);
      CrossEntropyProblem<double> wide(s, smoothing);
      wide.x = as_doubles(p.x);
      wide.dloss = as_doubles(p.dloss);
      p.forward();
      wide.forward();
      p.backward();
      wide.backward();
      expect_close(p.dlogits, wide.dlogits, 16, text(s), 4);
    }
  }
}

TEST(CrossEntropyGradient, MatchesFiniteDifferences) {
  for (double smoothing : {0.0, 0.3}) {
    CrossEntropyProblem<double> p({4, 9}, smoothing);
    p.forward();
    p.backward();
    const auto loss = [&](auto& x) {
      return dot(cross_entropy_reference(p.desc, x, p.target), p.dloss);
    };
    expect_gradient(p.dlogits, finite_difference(loss, p.x), "dlogits");
  }
}

TYPED_TEST(CrossEntropy, IgnoredRowsHaveZeroLossAndGradient) {
  CrossEntropyProblem<TypeParam> p({3, 20}, 0.1);
  p.dlogits.assign(60, TypeParam(5.0f));
  p.x[20] = TypeParam(std::nanf(""));  // even where their logits are not numbers
  p.forward();
  p.backward();
  EXPECT_EQ(p.loss[1], 0);
  for (int j = 20; j < 40; ++j) EXPECT_EQ(as_double(p.dlogits[j]), 0);
  EXPECT_NE(p.loss[0], 0);
}

TYPED_TEST(CrossEntropy, GradientMayOverwriteLogits) {
  CrossEntropyProblem<TypeParam> p({5, 77}, 0.1);
  p.forward();
  p.backward();
  cross_entropy_backward<TypeParam>(p.desc, p.dloss.data(), p.x.data(), p.target.data(),
                                    p.lse.data(), p.x.data());
  EXPECT_TRUE(same_bits(p.x, p.dlogits));
}

TEST(CrossEntropy, FirstBadTargetIsFound) {
  const std::vector<int64_t> target{0, 9, -100, 10, -1};
  EXPECT_EQ(first_bad_target(3, 10, -100, target.data()), -1);
  EXPECT_EQ(first_bad_target(5, 10, -100, target.data()), 3);
  EXPECT_EQ(first_bad_target(5, 11, -100, target.data()), 4);
  EXPECT_EQ(first_bad_target(5, 11, -1, target.data()), 2);
  EXPECT_EQ(first_bad_target(0, 10, -100, nullptr), -1);
}

}  // namespace
}  // namespace plinth::kernels::cpu
