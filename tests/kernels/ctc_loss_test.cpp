#include "kernels/ctc_loss/ctc_loss.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

// Labels that repeat, others, fewer steps than there are, no label; the last has no alignment.
template <class T>
struct CtcProblem {
  using C = compute_t<T>;
  CtcLossDesc desc{.time = 13, .batch = 5, .classes = 7, .most = 4, .blank = 2};
  std::vector<T> x = random_values<T>(13 * 5 * 7, 1), dx = std::vector<T>(x.size());
  std::vector<int64_t> classes{0, 0, 1, 3, 4, 5, 6, 0, 1, 1, 1, 9, 9, 9, 9, 9, 3, 3, 3, 3};
  std::vector<int64_t> input_lengths{13, 4, 9, 6, 6}, target_lengths{4, 4, 3, 0, 4};
  std::vector<C> loss = std::vector<C>(5), dloss = random_values<C>(5, 3);

  CtcTargets targets() const {
    return {classes.data(), input_lengths.data(), target_lengths.data()};
  }
  void forward() { ctc_loss_forward<T>(desc, x.data(), targets(), loss.data()); }
  void backward() { ctc_loss_backward<T>(desc, dloss.data(), x.data(), targets(), dx.data()); }
};

// The same by probabilities, of float64, as the paper has them.
double probability(const CtcProblem<double>& p, const std::vector<double>& x, int64_t sample) {
  std::vector<int64_t> states{p.desc.blank};
  for (int64_t i = 0; i < p.target_lengths[sample]; ++i) {
    states.push_back(p.classes[sample * p.desc.most + i]);
    states.push_back(p.desc.blank);
  }
  std::vector<double> row(states.size(), 0.0);
  row[0] = 1;  // before the first step
  for (int64_t t = 0; t < p.input_lengths[sample]; ++t) {
    std::vector<double> next(row.size(), 0.0);
    for (size_t s = 0; s < row.size(); ++s) {
      double sum = t == 0 ? (s < 2 ? 1.0 : 0.0) : row[s];
      if (t > 0 && s >= 1) sum += row[s - 1];
      if (t > 0 && s >= 2 && states[s] != p.desc.blank && states[s] != states[s - 2])
        sum += row[s - 2];
      next[s] = sum * std::exp(x[(t * p.desc.batch + sample) * p.desc.classes + states[s]]);
    }
    row = next;
  }
  return row.back() + (row.size() > 1 ? row[row.size() - 2] : 0);
}

std::vector<double> ctc_reference(const CtcProblem<double>& p, const std::vector<double>& x) {
  std::vector<double> losses;
  for (int64_t i = 0; i < p.desc.batch; ++i) losses.push_back(-std::log(probability(p, x, i)));
  return losses;
}

template <class T>
class CtcLoss : public ::testing::Test {};
TYPED_TEST_SUITE(CtcLoss, FloatTypes);

TYPED_TEST(CtcLoss, ForwardMatchesFloat64) {
  CtcProblem<TypeParam> p;
  p.forward();
  expect_close(p.loss, ctc_reference(CtcProblem<double>(), as_doubles(p.x)), 4, "loss");
  EXPECT_TRUE(std::isinf(p.loss[4]));
}

TYPED_TEST(CtcLoss, BackwardMatchesFloat64) {
  CtcProblem<TypeParam> p;
  CtcProblem<double> wide;
  wide.x = as_doubles(p.x);
  wide.dloss = as_doubles(p.dloss);
  p.backward();
  wide.backward();
  expect_close(p.dx, as_doubles(wide.dx), 4, "dx");
}

TEST(CtcLossGradient, MatchesFiniteDifferences) {
  CtcProblem<double> p;
  p.desc.batch = 4;  // those with an alignment
  p.x.resize(13 * 4 * 7);
  p.dx.resize(p.x.size());
  p.dloss.resize(4);
  p.backward();
  const auto loss = [&](auto& x) { return dot(ctc_reference(p, x), p.dloss); };
  expect_gradient(p.dx, finite_difference(loss, p.x), "dx");
}

TYPED_TEST(CtcLoss, ATargetWithoutAnAlignmentCountsAsZeroIfAsked) {
  for (const bool zero_infinity : {false, true}) {
    CtcProblem<TypeParam> p;
    p.desc.zero_infinity = zero_infinity;
    p.forward();
    p.backward();
    EXPECT_EQ(p.loss[4] == 0, zero_infinity);
    for (int64_t t = 0; t < p.desc.time; ++t) {
      const double d = as_double(p.dx[(t * p.desc.batch + 4) * p.desc.classes]);
      EXPECT_EQ(std::isnan(d), !zero_infinity && t < p.input_lengths[4]) << t;
    }
  }
}

TYPED_TEST(CtcLoss, StepsBeyondASoundsLengthAreNotRead) {
  CtcProblem<TypeParam> p;
  for (int64_t c = 0; c < 7; ++c) p.x[(4 * 5 + 1) * 7 + c] = TypeParam(std::nanf(""));
  p.forward();
  p.backward();
  EXPECT_TRUE(std::isfinite(p.loss[1]));
  for (int64_t c = 0; c < 7; ++c) EXPECT_EQ(as_double(p.dx[(4 * 5 + 1) * 7 + c]), 0);
}

TYPED_TEST(CtcLoss, SameBitsOnAnyNumberOfThreads) {
  expect_same_on_any_threads([] {
    CtcProblem<TypeParam> p;
    p.forward();
    return p.loss;
  });
  expect_same_on_any_threads([] {
    CtcProblem<TypeParam> p;
    p.backward();
    return p.dx;
  });
}

}  // namespace
}  // namespace plinth::kernels::cpu
