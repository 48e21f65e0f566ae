#include "kernels/rms_norm/rms_norm.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

constexpr double kRmsNormEps = 1e-6;

std::vector<double> rms_norm_reference(const Shape& s, const std::vector<double>& x,
                                       const std::vector<double>& weight) {
  std::vector<double> y(x.size());
  for (int64_t i = 0; i < s.rows; ++i) {
    double mean_square = 0;
    for (int64_t j = 0; j < s.cols; ++j) {
      mean_square += x[i * s.cols + j] * x[i * s.cols + j] / s.cols;
    }
    for (int64_t j = 0; j < s.cols; ++j) {
      y[i * s.cols + j] = x[i * s.cols + j] / std::sqrt(mean_square + kRmsNormEps) *
                          (weight.empty() ? 1 : weight[j]);
    }
  }
  return y;
}

template <class T>
struct RmsNormProblem {
  using C = compute_t<T>;
  Shape s;
  std::vector<T> x, residual, weight, dy, dsum;

  explicit RmsNormProblem(const Shape& shape)
      : s(shape),
        x(random_values<T>(s.rows * s.cols, 1)),
        residual(random_values<T>(s.rows * s.cols, 2)),
        weight(random_values<T>(s.cols, 3)),
        dy(random_values<T>(s.rows * s.cols, 5)),
        dsum(random_values<T>(s.rows * s.cols, 6)) {}

  std::vector<T> y = std::vector<T>(x.size()), dx = y;
  std::vector<C> rstd = std::vector<C>(s.rows);
  std::vector<T> dweight = std::vector<T>(s.cols);

  void forward() {
    rms_norm_forward<T>(s.rows, s.cols, x.data(), weight.data(), C(kRmsNormEps), y.data(),
                        rstd.data());
  }
  void backward() {
    rms_norm_backward<T>(s.rows, s.cols, dy.data(), x.data(), weight.data(), rstd.data(), dx.data(),
                         dweight.data());
  }
};

template <class T>
class RmsNorm : public ::testing::Test {};
TYPED_TEST_SUITE(RmsNorm, FloatTypes);

TYPED_TEST(RmsNorm, ForwardMatchesFloat64) {
  for (const Shape& s : kShapes) {
    RmsNormProblem<TypeParam> p(s);
    p.forward();
    expect_close(p.y, rms_norm_reference(s, as_doubles(p.x), as_doubles(p.weight)), 32,
                 "y of " + text(s));
  }
}

TYPED_TEST(RmsNorm, WeightAndRstdAreOptional) {
  RmsNormProblem<TypeParam> p({5, 37});
  rms_norm_forward<TypeParam>(5, 37, p.x.data(), nullptr, compute_t<TypeParam>(kRmsNormEps),
                              p.y.data(), nullptr);
  expect_close(p.y, rms_norm_reference(p.s, as_doubles(p.x), {}), 32, "y");
}

TYPED_TEST(RmsNorm, BackwardMatchesFloat64) {
  for (const Shape& s : kShapes) {
    RmsNormProblem<TypeParam> p(s);
    RmsNormProblem<double> wide(s);
    wide.x = as_doubles(p.x);
    wide.dy = as_doubles(p.dy);
    wide.weight = as_doubles(p.weight);
    p.forward();
    wide.forward();
    p.backward();
    wide.backward();
    const double largest = *std::max_element(wide.rstd.begin(), wide.rstd.end());
    expect_close(p.dx, wide.dx, 64, "dx of " + text(s), 8 * largest);
    expect_close(p.dweight, wide.dweight, 64, "dweight of " + text(s), 8 * std::sqrt(s.rows));
  }
}

TEST(RmsNormGradient, MatchesFiniteDifferences) {
  for (bool with_weight : {true, false}) {
    RmsNormProblem<double> p({4, 9});
    if (!with_weight) p.weight.clear();
    p.forward();
    rms_norm_backward<double>(4, 9, p.dy.data(), p.x.data(),
                              with_weight ? p.weight.data() : nullptr, p.rstd.data(), p.dx.data(),
                              p.dweight.data());
    expect_gradient(
        p.dx,
        finite_difference([&](auto& x) { return dot(rms_norm_reference(p.s, x, p.weight), p.dy); },
                          p.x),
        "dx");
    if (!with_weight) continue;
    expect_gradient(
        p.dweight,
        finite_difference([&](auto& w) { return dot(rms_norm_reference(p.s, p.x, w), p.dy); },
                          p.weight),
        "dweight");
  }
}

TYPED_TEST(RmsNorm, AddVariantNormalisesTheRoundedSum) {
  using C = compute_t<TypeParam>;
  for (const Shape& s : kShapes) {
    RmsNormProblem<TypeParam> p(s), plain(s);
    std::vector<TypeParam> sum(p.x.size());
    add_rms_norm_forward<TypeParam>(s.rows, s.cols, p.x.data(), p.residual.data(), p.weight.data(),
                                    C(kRmsNormEps), sum.data(), p.y.data(), p.rstd.data());
    for (size_t i = 0; i < sum.size(); ++i) {
      plain.x[i] = TypeParam(C(p.x[i]) + C(p.residual[i]));
    }
    plain.forward();
    EXPECT_TRUE(same_bits(sum, plain.x)) << text(s);
    EXPECT_TRUE(same_bits(p.y, plain.y)) << text(s);
    EXPECT_TRUE(same_bits(p.rstd, plain.rstd));
  }
}

TEST(RmsNormGradient, AddVariantAddsTheSumsOwnGradient) {
  RmsNormProblem<double> p({5, 33});
  p.forward();
  p.backward();
  std::vector<double> dx(p.x.size()), dweight(33);
  add_rms_norm_backward<double>(5, 33, p.dy.data(), p.dsum.data(), p.x.data(), p.weight.data(),
                                p.rstd.data(), dx.data(), nullptr, dweight.data());
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_NEAR(dx[i], p.dx[i] + p.dsum[i], 1e-14);
  EXPECT_EQ(dweight, p.dweight);
}

TYPED_TEST(RmsNorm, OutputsMayOverwriteInputsAndGradientsBeLeftOut) {
  for (const Shape& s : {Shape{130, 67}, Shape{2, 1030}}) {
    RmsNormProblem<TypeParam> p(s), q(s);
    p.forward();
    p.backward();
    q.forward();
    rms_norm_backward<TypeParam>(s.rows, s.cols, q.dy.data(), q.x.data(), q.weight.data(),
                                 q.rstd.data(), nullptr, q.dweight.data());
    EXPECT_TRUE(same_bits(q.dweight, p.dweight));
    rms_norm_backward<TypeParam>(s.rows, s.cols, q.dy.data(), q.x.data(), q.weight.data(),
                                 q.rstd.data(), q.dy.data(), nullptr);
    EXPECT_TRUE(same_bits(q.dy, p.dx));
    rms_norm_forward<TypeParam>(s.rows, s.cols, q.x.data(), q.weight.data(),
                                compute_t<TypeParam>(kRmsNormEps), q.x.data(), nullptr);
    EXPECT_TRUE(same_bits(q.x, p.y));
  }
}

// ---- a stream of float32, the branch and what is normed in N ----

// Inputs and results of add_rms_norm and its gradient.
template <class N>
struct NarrowRmsNormProblem {
  RmsNormProblem<float> p;
  std::vector<N> branch, dy, y, dbranch;
  std::vector<float> sum = std::vector<float>(p.x.size());

  explicit NarrowRmsNormProblem(const Shape& s)
      : p(s),
        branch(rounded_to<N>(p.x)),
        dy(rounded_to<N>(p.dy)),
        y(p.x.size()),
        dbranch(p.x.size()) {}

  void forward() {
    add_rms_norm_forward<float>(p.s.rows, p.s.cols, branch.data(), p.residual.data(),
                                p.weight.data(), kRmsNormEps, sum.data(), y.data(), p.rstd.data());
  }
  void backward(bool dx = true, bool narrow = true) {
    add_rms_norm_backward<float>(p.s.rows, p.s.cols, dy.data(), p.dsum.data(), sum.data(),
                                 p.weight.data(), p.rstd.data(), dx ? p.dx.data() : nullptr,
                                 narrow ? dbranch.data() : nullptr, p.dweight.data());
  }
};

template <class N>
class RmsNormNarrow : public ::testing::Test {};
TYPED_TEST_SUITE(RmsNormNarrow, NarrowTypes);

TYPED_TEST(RmsNormNarrow, ForwardMatchesFloat64) {
  for (const Shape& s : kShapes) {
    NarrowRmsNormProblem<TypeParam> n(s);
    n.forward();
    for (size_t i = 0; i < n.sum.size(); ++i)
      EXPECT_EQ(n.sum[i], float(n.branch[i]) + n.p.residual[i]);
    expect_close(n.y, rms_norm_reference(s, as_doubles(n.sum), as_doubles(n.p.weight)), 32,
                 "y of " + text(s));
    std::vector<TypeParam> plain(n.y.size());
    rms_norm_forward<float>(s.rows, s.cols, n.sum.data(), n.p.weight.data(), kRmsNormEps,
                            plain.data(), nullptr);
    EXPECT_TRUE(same_bits(plain, n.y)) << text(s);
  }
}

// The gradients of float32 are compared with float64's above.
TYPED_TEST(RmsNormNarrow, HasTheBitsOfFloat32AndConversions) {
  for (const Shape& s : kShapes) {
    NarrowRmsNormProblem<TypeParam> n(s);
    NarrowRmsNormProblem<float> wide(s);
    wide.branch = std::vector<float>(n.branch.begin(), n.branch.end());
    wide.dy = std::vector<float>(n.dy.begin(), n.dy.end());
    n.forward();
    n.backward();
    wide.forward();
    wide.backward();
    EXPECT_TRUE(same_bits(n.sum, wide.sum)) << text(s);
    EXPECT_TRUE(same_bits(n.y, rounded_to<TypeParam>(wide.y))) << text(s);
    EXPECT_TRUE(same_bits(n.p.dx, wide.p.dx)) << text(s);
    EXPECT_TRUE(same_bits(n.dbranch, rounded_to<TypeParam>(wide.p.dx))) << text(s);
    EXPECT_TRUE(same_bits(n.p.dweight, wide.p.dweight)) << text(s);
    rms_norm_backward<float>(s.rows, s.cols, n.dy.data(), n.sum.data(), n.p.weight.data(),
                             n.p.rstd.data(), n.p.dx.data(), n.p.dweight.data());
    rms_norm_backward<float>(s.rows, s.cols, wide.dy.data(), n.sum.data(), n.p.weight.data(),
                             n.p.rstd.data(), wide.p.dx.data(), wide.p.dweight.data());
    EXPECT_TRUE(same_bits(n.p.dx, wide.p.dx)) << text(s);
    EXPECT_TRUE(same_bits(n.p.dweight, wide.p.dweight)) << text(s);
  }
}

TYPED_TEST(RmsNormNarrow, EitherGradientOfTheSumCanBeLeftOut) {
  NarrowRmsNormProblem<TypeParam> both({70, 21}), one({70, 21}), other({70, 21});
  for (auto* n : {&both, &one, &other}) n->forward();
  both.backward();
  one.backward(true, false);
  other.backward(false, true);
  EXPECT_TRUE(same_bits(one.p.dx, both.p.dx));
  EXPECT_TRUE(same_bits(other.dbranch, both.dbranch));
  EXPECT_TRUE(same_bits(other.p.dweight, both.p.dweight));
}

TYPED_TEST(RmsNormNarrow, HasTheSameBitsOnAnyNumberOfThreads) {
  NarrowRmsNormProblem<TypeParam> n({1500, 96});
  n.forward();
  expect_same_on_any_threads([&] {
    n.backward();
    return n.p.dweight;
  });
  expect_same_on_any_threads([&] {
    n.forward();
    n.backward();
    return n.dbranch;
  });
}

TEST(RmsNormBackward, HasTheSameBitsOnAnyNumberOfThreads) {
  RmsNormProblem<float> p({1500, 96});
  p.forward();
  expect_same_on_any_threads([&] {
    p.backward();
    return p.dweight;
  });
}

}  // namespace
}  // namespace plinth::kernels::cpu
