#include "kernels/layer_norm/layer_norm.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

constexpr double kLayerNormEps = 1e-5;

std::vector<double> layer_norm_reference(const Shape& s, const std::vector<double>& x,
                                         const std::vector<double>& weight,
                                         const std::vector<double>& bias) {
  std::vector<double> y(x.size());
  for (int64_t i = 0; i < s.rows; ++i) {
    const double* row = x.data() + i * s.cols;
    double mean = 0, variance = 0;
    for (int64_t j = 0; j < s.cols; ++j) mean += row[j] / s.cols;
    for (int64_t j = 0; j < s.cols; ++j) variance += (row[j] - mean) * (row[j] - mean) / s.cols;
    for (int64_t j = 0; j < s.cols; ++j) {
      const double n = (row[j] - mean) / std::sqrt(variance + kLayerNormEps);
      y[i * s.cols + j] = n * (weight.empty() ? 1 : weight[j]) + (bias.empty() ? 0 : bias[j]);
    }
  }
  return y;
}

template <class T>
struct LayerNormProblem {
  using C = compute_t<T>;
  Shape s;
  std::vector<T> x, residual, weight, bias, dy, dsum;

  explicit LayerNormProblem(const Shape& shape, double mean = 0.5)
      : s(shape),
        x(random_values<T>(s.rows * s.cols, 1, 1, mean)),
        residual(random_values<T>(s.rows * s.cols, 2)),
        weight(random_values<T>(s.cols, 3)),
        bias(random_values<T>(s.cols, 4)),
        dy(random_values<T>(s.rows * s.cols, 5)),
        dsum(random_values<T>(s.rows * s.cols, 6)) {}

  std::vector<T> y = std::vector<T>(x.size()), dx = y;
  std::vector<C> mean = std::vector<C>(s.rows), rstd = mean;
  std::vector<T> dweight = std::vector<T>(s.cols), dbias = dweight;

  void forward() {
    layer_norm_forward<T>(s.rows, s.cols, x.data(), weight.data(), bias.data(), C(kLayerNormEps),
                          y.data(), mean.data(), rstd.data());
  }
  void backward() {
    layer_norm_backward<T>(s.rows, s.cols, dy.data(), x.data(), weight.data(), mean.data(),
                           rstd.data(), dx.data(), dweight.data(), dbias.data());
  }
};

template <class T>
class LayerNorm : public ::testing::Test {};
TYPED_TEST_SUITE(LayerNorm, FloatTypes);

TYPED_TEST(LayerNorm, ForwardMatchesFloat64) {
  for (const Shape& s : kShapes) {
    LayerNormProblem<TypeParam> p(s);
    p.forward();
    expect_close(p.y,
                 layer_norm_reference(s, as_doubles(p.x), as_doubles(p.weight), as_doubles(p.bias)),
                 64, "y of " + text(s), 4);
  }
}

TYPED_TEST(LayerNorm, WeightBiasAndStatisticsAreOptional) {
  using C = compute_t<TypeParam>;
  for (bool with_weight : {false, true}) {
    for (bool with_bias : {false, true}) {
      LayerNormProblem<TypeParam> p({5, 37});
      if (!with_weight) p.weight.clear();
      if (!with_bias) p.bias.clear();
      layer_norm_forward<TypeParam>(5, 37, p.x.data(), with_weight ? p.weight.data() : nullptr,
                                    with_bias ? p.bias.data() : nullptr, C(kLayerNormEps),
                                    p.y.data(), nullptr, nullptr);
      expect_close(
          p.y, layer_norm_reference(p.s, as_doubles(p.x), as_doubles(p.weight), as_doubles(p.bias)),
          64, "y", 4);
    }
  }
}

// The gradients of float64 are checked by finite differences below; every other type must agree
// with them on the same inputs.
TYPED_TEST(LayerNorm, BackwardMatchesFloat64) {
  for (const Shape& s : kShapes) {
    if (s.cols < 2) continue;
    LayerNormProblem<TypeParam> p(s);
    LayerNormProblem<double> wide(s);
    wide.x = as_doubles(p.x);
    wide.dy = as_doubles(p.dy);
    wide.weight = as_doubles(p.weight);
    p.forward();
    wide.forward();
    p.backward();
    wide.backward();
    const double largest = *std::max_element(wide.rstd.begin(), wide.rstd.end());
    expect_close(p.dx, wide.dx, 128 * largest, "dx of " + text(s), 8 * largest);
    const double terms = 16 * largest * std::sqrt(s.rows);
    expect_close(p.dweight, wide.dweight, 64, "dweight of " + text(s), terms);
    expect_close(p.dbias, wide.dbias, 64, "dbias of " + text(s), terms);
  }
}

TEST(LayerNormGradient, MatchesFiniteDifferences) {
  for (bool with_weight : {true, false}) {
    LayerNormProblem<double> p({4, 9});
    if (!with_weight) p.weight.clear();
    const auto loss = [&](const std::vector<double>& x, const std::vector<double>& weight,
                          const std::vector<double>& bias) {
      return dot(layer_norm_reference(p.s, x, weight, bias), p.dy);
    };
    p.forward();
    layer_norm_backward<double>(4, 9, p.dy.data(), p.x.data(),
                                with_weight ? p.weight.data() : nullptr, p.mean.data(),
                                p.rstd.data(), p.dx.data(), p.dweight.data(), p.dbias.data());
    expect_gradient(
        p.dx, finite_difference([&](auto& x) { return loss(x, p.weight, p.bias); }, p.x), "dx");
    expect_gradient(p.dbias,
                    finite_difference([&](auto& b) { return loss(p.x, p.weight, b); }, p.bias),
                    "dbias");
    if (!with_weight) continue;
    expect_gradient(p.dweight,
                    finite_difference([&](auto& w) { return loss(p.x, w, p.bias); }, p.weight),
                    "dweight");
  }
}

TYPED_TEST(LayerNorm, AddVariantNormalisesTheRoundedSum) {
  using C = compute_t<TypeParam>;
  for (const Shape& s : kShapes) {
    LayerNormProblem<TypeParam> p(s);
    std::vector<TypeParam> sum(p.x.size());
    add_layer_norm_forward<TypeParam>(s.rows, s.cols, p.x.data(), p.residual.data(),
                                      p.weight.data(), p.bias.data(), C(kLayerNormEps), sum.data(),
                                      p.y.data(), p.mean.data(), p.rstd.data());
    LayerNormProblem<TypeParam> plain(s);
    for (size_t i = 0; i < sum.size(); ++i) {
      plain.x[i] = TypeParam(C(p.x[i]) + C(p.residual[i]));
    }
    plain.forward();
    EXPECT_TRUE(same_bits(sum, plain.x)) << text(s);
    EXPECT_TRUE(same_bits(p.y, plain.y)) << text(s);
    EXPECT_TRUE(same_bits(p.mean, plain.mean));
    EXPECT_TRUE(same_bits(p.rstd, plain.rstd));
  }
}

TEST(LayerNormGradient, AddVariantAddsTheSumsOwnGradient) {
  LayerNormProblem<double> p({5, 33});
  p.forward();
  p.backward();
  std::vector<double> dx(p.x.size()), dweight(33), dbias(33);
  add_layer_norm_backward<double>(5, 33, p.dy.data(), p.dsum.data(), p.x.data(), p.weight.data(),
                                  p.mean.data(), p.rstd.data(), dx.data(), nullptr, dweight.data(),
                                  dbias.data());
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_NEAR(dx[i], p.dx[i] + p.dsum[i], 1e-14);
  EXPECT_EQ(dweight, p.dweight);
  EXPECT_EQ(dbias, p.dbias);
}

TYPED_TEST(LayerNorm, EachGradientCanBeLeftOut) {
  LayerNormProblem<TypeParam> p({70, 21});
  p.forward();
  p.backward();
  for (int mask = 0; mask < 8; ++mask) {
    LayerNormProblem<TypeParam> q({70, 21});
    layer_norm_backward<TypeParam>(70, 21, p.dy.data(), p.x.data(), p.weight.data(), p.mean.data(),
                                   p.rstd.data(), mask & 1 ? q.dx.data() : nullptr,
                                   mask & 2 ? q.dweight.data() : nullptr,
                                   mask & 4 ? q.dbias.data() : nullptr);
    EXPECT_TRUE(!(mask & 1) || same_bits(q.dx, p.dx)) << mask;
    EXPECT_TRUE(!(mask & 2) || same_bits(q.dweight, p.dweight)) << mask;
    EXPECT_TRUE(!(mask & 4) || same_bits(q.dbias, p.dbias)) << mask;
  }
}

TYPED_TEST(LayerNorm, OutputsMayOverwriteInputs) {
  using C = compute_t<TypeParam>;
  for (const Shape& s : {Shape{130, 67}, Shape{2, 1030}}) {
    LayerNormProblem<TypeParam> p(s), q(s);
    p.forward();
    p.backward();
    q.forward();
    std::vector<TypeParam> onto_dy = q.dy, onto_x = q.x;
    layer_norm_backward<TypeParam>(s.rows, s.cols, onto_dy.data(), q.x.data(), q.weight.data(),
                                   q.mean.data(), q.rstd.data(), onto_dy.data(), q.dweight.data(),
                                   q.dbias.data());
    layer_norm_backward<TypeParam>(s.rows, s.cols, q.dy.data(), onto_x.data(), q.weight.data(),
                                   q.mean.data(), q.rstd.data(), onto_x.data(), q.dweight.data(),
                                   q.dbias.data());
    EXPECT_TRUE(same_bits(onto_dy, p.dx));
    EXPECT_TRUE(same_bits(onto_x, p.dx));
    EXPECT_TRUE(same_bits(q.dweight, p.dweight));
    layer_norm_forward<TypeParam>(s.rows, s.cols, q.x.data(), q.weight.data(), q.bias.data(),
                                  C(kLayerNormEps), q.x.data(), nullptr, nullptr);
    EXPECT_TRUE(same_bits(q.x, p.y));
  }
}

// ---- a stream of float32, the branch and what is normed in N ----

// Inputs and results of add_layer_norm and its gradient.
template <class N>
struct NarrowLayerNormProblem {
  LayerNormProblem<float> p;
  std::vector<N> branch, dy, y, dbranch;
  std::vector<float> sum = std::vector<float>(p.x.size());

  explicit NarrowLayerNormProblem(const Shape& s)
      : p(s),
        branch(rounded_to<N>(p.x)),
        dy(rounded_to<N>(p.dy)),
        y(p.x.size()),
        dbranch(p.x.size()) {}

  void forward() {
    add_layer_norm_forward<float>(p.s.rows, p.s.cols, branch.data(), p.residual.data(),
                                  p.weight.data(), p.bias.data(), kLayerNormEps, sum.data(),
                                  y.data(), p.mean.data(), p.rstd.data());
  }
  void backward(bool dx = true, bool narrow = true) {
    add_layer_norm_backward<float>(p.s.rows, p.s.cols, dy.data(), p.dsum.data(), sum.data(),
                                   p.weight.data(), p.mean.data(), p.rstd.data(),
                                   dx ? p.dx.data() : nullptr, narrow ? dbranch.data() : nullptr,
                                   p.dweight.data(), p.dbias.data());
  }
};

template <class N>
class LayerNormNarrow : public ::testing::Test {};
TYPED_TEST_SUITE(LayerNormNarrow, NarrowTypes);

TYPED_TEST(LayerNormNarrow, ForwardMatchesFloat64) {
  for (const Shape& s : kShapes) {
    NarrowLayerNormProblem<TypeParam> n(s);
    n.forward();
    for (size_t i = 0; i < n.sum.size(); ++i)
      EXPECT_EQ(n.sum[i], float(n.branch[i]) + n.p.residual[i]);
    const std::vector<double> weight = as_doubles(n.p.weight), bias = as_doubles(n.p.bias);
    expect_close(n.y, layer_norm_reference(s, as_doubles(n.sum), weight, bias), 64,
                 "y of " + text(s), 4);
    std::vector<TypeParam> plain(n.y.size());
    layer_norm_forward<float>(s.rows, s.cols, n.sum.data(), n.p.weight.data(), n.p.bias.data(),
                              kLayerNormEps, plain.data(), nullptr, nullptr);
    EXPECT_TRUE(same_bits(plain, n.y)) << text(s);
  }
}

// The gradients of float32 are compared with float64's above.
TYPED_TEST(LayerNormNarrow, HasTheBitsOfFloat32AndConversions) {
  for (const Shape& s : kShapes) {
    NarrowLayerNormProblem<TypeParam> n(s);
    NarrowLayerNormProblem<float> wide(s);
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
    EXPECT_TRUE(same_bits(n.p.dbias, wide.p.dbias)) << text(s);
    layer_norm_backward<float>(s.rows, s.cols, n.dy.data(), n.sum.data(), n.p.weight.data(),
                               n.p.mean.data(), n.p.rstd.data(), n.p.dx.data(), n.p.dweight.data(),
                               n.p.dbias.data());
    layer_norm_backward<float>(s.rows, s.cols, wide.dy.data(), n.sum.data(), n.p.weight.data(),
                               n.p.mean.data(), n.p.rstd.data(), wide.p.dx.data(),
                               wide.p.dweight.data(), wide.p.dbias.data());
    EXPECT_TRUE(same_bits(n.p.dx, wide.p.dx)) << text(s);
    EXPECT_TRUE(same_bits(n.p.dweight, wide.p.dweight)) << text(s);
  }
}

TYPED_TEST(LayerNormNarrow, EitherGradientOfTheSumCanBeLeftOut) {
  NarrowLayerNormProblem<TypeParam> both({70, 21}), one({70, 21}), other({70, 21});
  for (auto* n : {&both, &one, &other}) n->forward();
  both.backward();
  one.backward(true, false);
  other.backward(false, true);
  EXPECT_TRUE(same_bits(one.p.dx, both.p.dx));
  EXPECT_TRUE(same_bits(other.dbranch, both.dbranch));
  EXPECT_TRUE(same_bits(other.p.dweight, both.p.dweight));
}

TYPED_TEST(LayerNormNarrow, HasTheSameBitsOnAnyNumberOfThreads) {
  NarrowLayerNormProblem<TypeParam> n({1500, 96});
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

TEST(LayerNormForward, KeepsPrecisionWhenTheMeanIsLarge) {
  LayerNormProblem<float> p({3, 512}, 1000);
  p.forward();
  expect_close(p.y,
               layer_norm_reference(p.s, as_doubles(p.x), as_doubles(p.weight), as_doubles(p.bias)),
               4000, "y", 4);
}

TEST(LayerNormBackward, HasTheSameBitsOnAnyNumberOfThreads) {
  LayerNormProblem<float> p({1500, 96});
  p.forward();
  expect_same_on_any_threads([&] {
    p.backward();
    return p.dweight;
  });
}

TEST(LayerNormBackward, NoRowsGiveZeroParameterGradients) {
  std::vector<float> dweight(5, 9), dbias(5, 9);
  layer_norm_backward<float, float>(0, 5, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                    dweight.data(), dbias.data());
  EXPECT_EQ(dweight, std::vector<float>(5, 0));
  EXPECT_EQ(dbias, std::vector<float>(5, 0));
}

}  // namespace
}  // namespace plinth::kernels::cpu
