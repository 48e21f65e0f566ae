#include "kernels/optimizer/optimizer.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

// Lengths that start and end ranges and strips at odd places; some empty.
const std::vector<int64_t> kParameterLengths = {1, 0, 7, 512, 513, 33000, 3, 9001, 0};

template <class P, class G>
struct OptimizerProblem {
  using C = compute_t<P>;
  std::vector<std::vector<P>> parameter;
  std::vector<std::vector<G>> gradient;
  std::vector<std::vector<C>> exp_avg, exp_avg_sq, master, update;
  std::vector<OptimizerTensor<P, G>> tensors;

  explicit OptimizerProblem(bool with_master = false,
                            const std::vector<int64_t>& lengths = kParameterLengths) {
    for (unsigned t = 0; t < lengths.size(); ++t) {
      parameter.push_back(random_values<P>(lengths[t], 10 * t + 1));
      gradient.push_back(random_values<G>(lengths[t], 10 * t + 2));
      exp_avg.emplace_back(lengths[t]);
      exp_avg_sq.emplace_back(lengths[t]);
      master.emplace_back(parameter[t].begin(), parameter[t].end());
      update.emplace_back(lengths[t]);
    }
    for (unsigned t = 0; t < lengths.size(); ++t) {
      tensors.push_back({lengths[t], parameter[t].data(), gradient[t].data(), exp_avg[t].data(),
                         exp_avg_sq[t].data(), with_master ? master[t].data() : nullptr});
    }
  }
};

// One element of each rule in float64.
struct State {
  double p, m = 0, v = 0;
};
void adamw(State& s, double g, const AdamWOptions& o) {
  g *= o.grad_scale;
  s.p *= 1 - o.lr * o.weight_decay;
  s.m = o.beta1 * s.m + (1 - o.beta1) * g;
  s.v = o.beta2 * s.v + (1 - o.beta2) * g * g;
  const double m = s.m / (1 - std::pow(o.beta1, o.step));
  const double v = s.v / (1 - std::pow(o.beta2, o.step));
  s.p -= o.lr * m / (std::sqrt(v) + o.eps);
}
void sgd(State& s, double g, const SgdOptions& o) {
  g = g * o.grad_scale + o.weight_decay * s.p;
  if (o.momentum != 0) {
    s.m = o.momentum * s.m + g;
    g = o.nesterov ? g + o.momentum * s.m : s.m;
  }
  s.p -= o.lr * g;
}
void lion(State& s, double g, const LionOptions& o) {
  g *= o.grad_scale;
  const double c = o.beta1 * s.m + (1 - o.beta1) * g;
  s.p = s.p * (1 - o.lr * o.weight_decay) - o.lr * (c > 0 ? 1 : c < 0 ? -1 : 0);
  s.m = o.beta2 * s.m + (1 - o.beta2) * g;
}
void muon(State& s, double g, const MuonOptions& o) {
  g *= o.grad_scale;
  s.m += (1 - o.momentum) * (g - s.m);
  const double update = o.nesterov ? g + o.momentum * (s.m - g) : s.m;
  s.p = s.p * (1 - o.lr * o.weight_decay) - o.lr * update;
}

template <class P, class G>
void step(OptimizerProblem<P, G>& p, const AdamWOptions& o) {
  adamw_step<P, G>(p.tensors, o);
}
template <class P, class G>
void step(OptimizerProblem<P, G>& p, const SgdOptions& o) {
  sgd_step<P, G>(p.tensors, o);
}
template <class P, class G>
void step(OptimizerProblem<P, G>& p, const LionOptions& o) {
  lion_step<P, G>(p.tensors, o);
}
template <class P, class G>
void step(OptimizerProblem<P, G>& p, const MuonOptions& o) {
  std::vector<compute_t<P>*> updates;
  for (auto& u : p.update) updates.push_back(u.data());
  muon_momentum<P, G>(p.tensors, updates, o);
  const std::vector<const compute_t<P>*> constant(updates.begin(), updates.end());
  muon_update<P, G>(p.tensors, constant, o);
}

template <class Options>
void advance(Options&, int64_t) {}
void advance(AdamWOptions& o, int64_t step) {
  o.step = step;
}

// Three steps, of wide parameters or of narrow ones with master weights, against float64.
template <class P, class G, class Options, class Rule>
void expect_trajectory(const std::string& what, Options options, Rule rule) {
  constexpr bool kWide = std::is_same_v<P, compute_t<P>>;
  OptimizerProblem<P, G> p(!kWide);
  std::vector<std::vector<State>> states;
  for (const auto& tensor : p.parameter) {
    states.emplace_back();
    for (const P& v : tensor) states.back().push_back({as_double(v)});
  }
  for (int64_t k = 1; k <= 3; ++k) {
    advance(options, k);
    step(p, options);
    for (size_t t = 0; t < states.size(); ++t) {
      for (size_t i = 0; i < states[t].size(); ++i) {
        rule(states[t][i], as_double(p.gradient[t][i]), options);
      }
    }
  }
  for (size_t t = 0; t < states.size(); ++t) {
    std::vector<double> expected, m;
    for (const State& s : states[t]) expected.push_back(s.p), m.push_back(s.m);
    const std::string name = what + ", tensor " + std::to_string(t);
    if (kWide) {
      expect_close(p.parameter[t], expected, 16, name);
    } else {
      expect_close(p.master[t], expected, 16, name);
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(as_double(p.parameter[t][i]), as_double(P(p.master[t][i]))) << name;
      }
    }
    expect_close(p.exp_avg[t], m, 16, name + " exp_avg", 3);
  }
}

template <class P, class G>
void expect_all_trajectories() {
  expect_trajectory<P, G>("adamw", AdamWOptions{.lr = 0.01, .weight_decay = 0.1}, adamw);
  expect_trajectory<P, G>("adamw clipped", AdamWOptions{.lr = 0.01, .grad_scale = 0.3}, adamw);
  expect_trajectory<P, G>("sgd", SgdOptions{.lr = 0.1, .weight_decay = 0.1, .grad_scale = 2}, sgd);
  expect_trajectory<P, G>("momentum", SgdOptions{.lr = 0.1, .momentum = 0.9}, sgd);
  expect_trajectory<P, G>(
      "nesterov", SgdOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.1},
      sgd);
  expect_trajectory<P, G>("lion", LionOptions{.lr = 0.01, .weight_decay = 0.1, .grad_scale = 0.5},
                          lion);
  expect_trajectory<P, G>("muon", MuonOptions{.weight_decay = 0.1, .grad_scale = 0.5}, muon);
  expect_trajectory<P, G>("muon without nesterov", MuonOptions{.nesterov = false}, muon);
}

TEST(Optimizer, Float64FollowsTheRules) {
  expect_all_trajectories<double, double>();
}
TEST(Optimizer, Float32FollowsTheRules) {
  expect_all_trajectories<float, float>();
}
TEST(Optimizer, BFloat16MasterFollowsTheRules) {
  expect_all_trajectories<BFloat16, BFloat16>();
  expect_all_trajectories<BFloat16, float>();
}
TEST(Optimizer, Float16MasterFollowsTheRules) {
  expect_all_trajectories<Float16, Float16>();
  expect_all_trajectories<Float16, float>();
}

TEST(Optimizer, NarrowParameterWithoutMasterIsRoundedToNearest) {
  OptimizerProblem<BFloat16, float> p, with_master(true);
  adamw_step<BFloat16, float>(p.tensors, {.lr = 0.01});
  adamw_step<BFloat16, float>(with_master.tensors, {.lr = 0.01});
  for (size_t t = 0; t < p.parameter.size(); ++t) {
    EXPECT_TRUE(same_bits(p.parameter[t], with_master.parameter[t])) << t;
  }
}

TEST(Optimizer, StochasticRoundingIsUnbiasedAndReproducible) {
  // Every parameter is 1 and moves by a quarter of the gap below it: nearest rounding would never
  // move it, stochastic rounding moves a quarter of them.
  const int64_t n = 100000;
  const double gap = 0x1p-8;
  SgdOptions options{.lr = gap / 4, .rounding = {.enabled = true, .key = {.seed = 1, .step = 5}}};
  const auto run = [&] {
    OptimizerProblem<BFloat16, float> p(false, {n});
    p.parameter[0].assign(n, BFloat16(1.0f));
    p.gradient[0].assign(n, 1.0f);
    sgd_step<BFloat16, float>(p.tensors, options);
    return p.parameter[0];
  };
  const auto first = run();
  int64_t moved = 0;
  for (const BFloat16& v : first) {
    ASSERT_TRUE(float(v) == 1.0f || float(v) == 1.0f - static_cast<float>(gap));
    moved += float(v) != 1.0f;
  }
  EXPECT_NEAR(moved / double(n), 0.25, 0.01);
  EXPECT_TRUE(same_bits(run(), first));
  options.rounding.key.step = 6;
  EXPECT_FALSE(same_bits(run(), first));
}

TEST(Optimizer, StochasticRoundingFollowsTheDocumentedWords) {
  StochasticRounding rounding{.enabled = true, .key = {.seed = 9, .step = 2, .op = 3, .sample = 4}};
  OptimizerProblem<BFloat16, float> p, wide(true);
  sgd_step<BFloat16, float>(p.tensors, {.lr = 0.01, .rounding = rounding});
  sgd_step<BFloat16, float>(wide.tensors, {.lr = 0.01});
  for (size_t t = 0; t < kParameterLengths.size(); ++t) {
    for (int64_t e = 0; e < kParameterLengths[t]; ++e) {
      const uint32_t word = philox(rounding.key, t, e / 8)[e % 8 / 2];
      const uint32_t random = e % 2 ? word >> 16 : word & 0xffff;
      const uint32_t bits = (std::bit_cast<uint32_t>(wide.master[t][e]) + random) >> 16;
      ASSERT_EQ(p.parameter[t][e].bits, bits) << "tensor " << t << ", element " << e;
    }
  }
}

TEST(Optimizer, StochasticRoundingKeepsInfinityAndNaN) {
  OptimizerProblem<BFloat16, float> p(false, {20});
  p.parameter[0].assign(20, BFloat16(std::numeric_limits<float>::infinity()));
  p.parameter[0][3] = BFloat16(std::nanf(""));
  lion_step<BFloat16, float>(p.tensors, {.rounding = {.enabled = true}});
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(i == 3 ? std::isnan(float(p.parameter[0][i]))
                       : std::isinf(float(p.parameter[0][i])));
  }
}

TEST(Optimizer, HasTheSameBitsOnAnyNumberOfThreads) {
  expect_same_on_any_threads([] {
    OptimizerProblem<float, float> p;
    adamw_step<float, float>(p.tensors, {});
    return p.parameter[5];
  });
}

template <class T>
class GradientNorm : public ::testing::Test {};
TYPED_TEST_SUITE(GradientNorm, FloatTypes);

TYPED_TEST(GradientNorm, MatchesFloat64OnAnyThreads) {
  std::vector<std::vector<TypeParam>> data;
  std::vector<std::span<const TypeParam>> list;
  long double expected = 0;
  data.reserve(kParameterLengths.size());
  list.reserve(kParameterLengths.size());
  for (int64_t n : kParameterLengths) data.push_back(random_values<TypeParam>(n, 3 + n));
  for (const auto& x : data) list.emplace_back(x);
  for (const auto& x : data) {
    for (const TypeParam& v : x) expected += static_cast<long double>(as_double(v)) * as_double(v);
  }
  const std::span<const std::span<const TypeParam>> tensors(list);
  EXPECT_NEAR(sum_of_squares(tensors) / static_cast<double>(expected), 1, 1e-13);
  EXPECT_NEAR(global_norm(tensors), std::sqrt(static_cast<double>(expected)), 1e-10);
  expect_same_on_any_threads([&] { return std::vector<double>{sum_of_squares(tensors)}; });
}

TYPED_TEST(GradientNorm, AllFiniteSeesEveryPlace) {
  for (double bad : {std::numeric_limits<double>::infinity(), std::nan("")}) {
    for (int64_t place : {0, 5, 16399, 40000}) {
      std::vector<TypeParam> x(40001, TypeParam(1.0f)), y(3, TypeParam(2.0f));
      const std::vector<std::span<const TypeParam>> list{y, x};
      EXPECT_TRUE(all_finite(std::span<const std::span<const TypeParam>>(list)));
      x[place] = TypeParam(compute_t<TypeParam>(bad));
      EXPECT_FALSE(all_finite(std::span<const std::span<const TypeParam>>(list))) << place;
    }
  }
}

TEST(GradientNormOfNothing, IsZeroAndFinite) {
  const std::span<const std::span<const float>> none;
  EXPECT_EQ(global_norm(none), 0);
  EXPECT_TRUE(all_finite(none));
}

}  // namespace
}  // namespace plinth::kernels::cpu
