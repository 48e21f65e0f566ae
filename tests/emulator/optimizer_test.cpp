#include <gtest/gtest.h>

#include <cstring>

#include "kernels/optimizer/optimizer_cuda.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

// Of tensors that lie one behind the other, each of which may begin an element late: of one, and of
// all.
int64_t room(int64_t n) {
  return (n + 15) / 8 * 8;
}
int64_t total_of(const std::vector<int64_t>& sizes) {
  int64_t total = 8;
  for (const int64_t n : sizes) total += room(n);
  return total;
}

// A list of tensors with gradients and state, the same for every call with a seed; the arrays of
// all tensors lie in one buffer each, one element apart where `misaligned`.
template <class P, class G>
class OptimizerProblem {
 public:
  using C = compute_t<P>;

  OptimizerProblem(const std::vector<int64_t>& sizes, bool masters, bool misaligned = false)
      : total_(total_of(sizes)),
        parameters_(total_),
        gradients_(total_),
        first_(total_),
        second_(total_),
        masters_(total_) {
    std::mt19937_64 random(7);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < total_; ++i) {
      const float value = normal(random);
      masters_[i] = value;
      parameters_[i] = P(value);
      gradients_[i] = G(normal(random));
      first_[i] = 0.1f * normal(random);
      second_[i] = 0.01f * std::fabs(normal(random));
    }
    int64_t at = misaligned ? 1 : 0;
    for (const int64_t n : sizes) {
      list_.push_back({n, parameters_.data() + at, gradients_.data() + at, first_.data() + at,
                       second_.data() + at, masters ? masters_.data() + at : nullptr});
      updates_.push_back(second_.data() + at);
      at += room(n);
    }
  }

  OptimizerTensors<P, G> tensors() const { return list_; }
  std::span<C* const> updates() const { return updates_; }
  std::span<const C* const> const_updates() const { return {updates_.data(), updates_.size()}; }

  void expect_same_bits(const OptimizerProblem& other) const {
    EXPECT_EQ(differing(parameters_, other.parameters_), -1);
    EXPECT_EQ(differing(first_, other.first_), -1);
    EXPECT_EQ(differing(second_, other.second_), -1);
    EXPECT_EQ(differing(masters_, other.masters_), -1);
  }
  Buffer<P>& parameters() { return parameters_; }

 private:
  // The first element whose bits differ, or -1.
  template <class T>
  int64_t differing(const Buffer<T>& a, const Buffer<T>& b) const {
    for (int64_t i = 0; i < total_; ++i) {
      if (std::memcmp(a.data() + i, b.data() + i, sizeof(T)) != 0) return i;
    }
    return -1;
  }

  int64_t total_;
  Buffer<P> parameters_;
  Buffer<G> gradients_;
  Buffer<C> first_, second_, masters_;
  std::vector<OptimizerTensor<P, G>> list_;
  std::vector<C*> updates_;
};

const std::vector<int64_t> kSizes = {1, 0, 7, 8, 300, 2051};

struct AdamW {
  AdamWOptions options{.lr = 0.01, .weight_decay = 0.1, .step = 3, .grad_scale = 0.7};
  template <class P, class G>
  void on_cpu(const OptimizerProblem<P, G>& p) const {
    cpu::adamw_step(p.tensors(), options);
  }
  template <class P, class G>
  void on_gpu(const OptimizerProblem<P, G>& p, const StepInputs& inputs = {}) const {
    adamw_step(nullptr, p.tensors(), options, inputs);
  }
};
struct Sgd {
  SgdOptions options{.lr = 0.01, .weight_decay = 0.1, .grad_scale = 0.7};
  template <class P, class G>
  void on_cpu(const OptimizerProblem<P, G>& p) const {
    cpu::sgd_step(p.tensors(), options);
  }
  template <class P, class G>
  void on_gpu(const OptimizerProblem<P, G>& p, const StepInputs& inputs = {}) const {
    sgd_step(nullptr, p.tensors(), options, inputs);
  }
};
struct Momentum : Sgd {
  Momentum() { options.momentum = 0.9; }
};
struct Nesterov : Momentum {
  Nesterov() { options.nesterov = true; }
};
struct Lion {
  LionOptions options{.lr = 0.01, .weight_decay = 0.1, .grad_scale = 0.7};
  template <class P, class G>
  void on_cpu(const OptimizerProblem<P, G>& p) const {
    cpu::lion_step(p.tensors(), options);
  }
  template <class P, class G>
  void on_gpu(const OptimizerProblem<P, G>& p, const StepInputs& inputs = {}) const {
    lion_step(nullptr, p.tensors(), options, inputs);
  }
};
struct Muon {
  MuonOptions options{.weight_decay = 0.1, .grad_scale = 0.7};
  template <class P, class G>
  void on_cpu(const OptimizerProblem<P, G>& p) const {
    cpu::muon_momentum(p.tensors(), p.updates(), options);
    cpu::muon_update(p.tensors(), p.const_updates(), options);
  }
  template <class P, class G>
  void on_gpu(const OptimizerProblem<P, G>& p, const StepInputs& inputs = {}) const {
    muon_momentum(nullptr, p.tensors(), p.updates(), options, inputs);
    muon_update(nullptr, p.tensors(), p.const_updates(), options, inputs);
  }
};

template <class P, class G, class Optimizer>
void expect_same_as_cpu(const Optimizer& optimizer, const std::vector<int64_t>& sizes, bool masters,
                        bool misaligned) {
  SCOPED_TRACE(testing::Message() << "masters " << masters << ", misaligned " << misaligned);
  const OptimizerProblem<P, G> cpu(sizes, masters, misaligned), gpu(sizes, masters, misaligned);
  optimizer.on_cpu(cpu);
  optimizer.on_gpu(gpu);
  gpu.expect_same_bits(cpu);
}

template <class Optimizer>
class OptimizerKernel : public testing::Test {};
using Optimizers = testing::Types<AdamW, Sgd, Momentum, Nesterov, Lion, Muon>;
TYPED_TEST_SUITE(OptimizerKernel, Optimizers);

TYPED_TEST(OptimizerKernel, HasTheCpusBits) {
  for (const bool misaligned : {false, true}) {
    expect_same_as_cpu<double, double>(TypeParam(), kSizes, false, misaligned);
    expect_same_as_cpu<float, float>(TypeParam(), kSizes, false, misaligned);
    for (const bool masters : {false, true}) {
      expect_same_as_cpu<BFloat16, BFloat16>(TypeParam(), kSizes, masters, misaligned);
      expect_same_as_cpu<BFloat16, float>(TypeParam(), kSizes, masters, misaligned);
      expect_same_as_cpu<Float16, Float16>(TypeParam(), kSizes, masters, misaligned);
      expect_same_as_cpu<Float16, float>(TypeParam(), kSizes, masters, misaligned);
    }
  }
}

TYPED_TEST(OptimizerKernel, RoundsStochasticallyAsTheCpu) {
  TypeParam optimizer;
  optimizer.options.rounding = {true, {.seed = 5, .step = 9, .op = 2, .sample = 11}};
  expect_same_as_cpu<BFloat16, BFloat16>(optimizer, kSizes, false, false);
  expect_same_as_cpu<BFloat16, float>(optimizer, kSizes, true, false);
}

TYPED_TEST(OptimizerKernel, TakesMoreTensorsThanOneLaunchHolds) {
  TypeParam optimizer;
  optimizer.options.rounding = {true, {.seed = 5, .step = 9}};
  const std::vector<int64_t> sizes(150, 9);
  expect_same_as_cpu<BFloat16, BFloat16>(optimizer, sizes, false, false);
}

TYPED_TEST(OptimizerKernel, ReadsWhatChangesFromDeviceMemory) {
  TypeParam now;
  now.options.lr = 0.25;
  now.options.rounding = {true, {.seed = 5, .step = 10, .sample = 3}};
  TypeParam captured;  // with another learning rate, step and scale
  captured.options.grad_scale = 123;
  captured.options.rounding = {true, {.seed = 5, .step = 1}};
  const OnDevice<OptimizerScalars> scalars{scalars_of(now.options)};
  const OptimizerProblem<BFloat16, float> expected(kSizes, false), actual(kSizes, false);
  now.on_cpu(expected);
  captured.on_gpu(actual, {.scalars = &scalars.value});
  actual.expect_same_bits(expected);
}

TYPED_TEST(OptimizerKernel, MultipliesGradientsByTheClipFactor) {
  TypeParam clipped;
  const OnDevice<StepVerdict> verdict{{.norm = 4, .factor = 0.25}};
  const OptimizerProblem<float, float> expected(kSizes, false), actual(kSizes, false);
  clipped.on_gpu(actual, {.verdict = &verdict.value});
  clipped.options.grad_scale *= 0.25;
  clipped.on_cpu(expected);
  actual.expect_same_bits(expected);
}

TYPED_TEST(OptimizerKernel, SkipsAStepThatIsNotAccepted) {
  const OnDevice<StepVerdict> verdict{{.accepted = 0}};
  const OptimizerProblem<float, float> untouched(kSizes, false), actual(kSizes, false);
  TypeParam().on_gpu(actual, {.verdict = &verdict.value});
  actual.expect_same_bits(untouched);
}

// ---- norms ----

template <class G>
class Gradients {
 public:
  explicit Gradients(const std::vector<int64_t>& sizes, int64_t first = 0) {
    uint64_t seed = 0;
    for (const int64_t n : sizes) {
      buffers_.push_back(std::make_unique<Buffer<G>>(n + first));
      buffers_.back()->fill_random(++seed);
      spans_.emplace_back(buffers_.back()->data() + first, static_cast<size_t>(n));
    }
  }
  std::span<const std::span<const G>> spans() const { return spans_; }
  Buffer<G>& operator[](size_t t) { return *buffers_[t]; }
  Buffer<double> workspace() const {
    return Buffer<double>(static_cast<int64_t>(gradient_workspace(spans()) / sizeof(double)));
  }

 private:
  std::vector<std::unique_ptr<Buffer<G>>> buffers_;
  std::vector<std::span<const G>> spans_;
};

template <class G>
void expect_norm_of_cpu(const std::vector<int64_t>& sizes, int64_t first) {
  const Gradients<G> gradients(sizes, first);
  Buffer<double> squares(1), norm(1), workspace = gradients.workspace();
  sum_of_squares(nullptr, gradients.spans(), squares.data(), workspace.data());
  global_norm(nullptr, gradients.spans(), norm.data(), workspace.data());
  const double expected = cpu::sum_of_squares(gradients.spans());
  EXPECT_NEAR(squares[0], expected, 1e-13 * expected);
  EXPECT_NEAR(norm[0], std::sqrt(expected), 1e-13 * std::sqrt(expected));
}

TEST(GradientNormKernel, MatchesTheCpu) {
  for (const int64_t first : {0, 1}) {
    for (const auto& sizes : {std::vector<int64_t>{1000, 0, 33, 70001}, std::vector<int64_t>(70, 5),
                              std::vector<int64_t>{}}) {
      expect_norm_of_cpu<float>(sizes, first);
      expect_norm_of_cpu<double>(sizes, first);
      expect_norm_of_cpu<BFloat16>(sizes, first);
      expect_norm_of_cpu<Float16>(sizes, first);
    }
  }
}

TEST(GradientNormKernel, AllFiniteFindsOneNanOrInfinity) {
  Gradients<float> gradients({300, 40000});
  Buffer<bool> finite(1);
  Buffer<double> workspace = gradients.workspace();
  const auto check = [&] {
    all_finite(nullptr, gradients.spans(), finite.data(), workspace.data());
    return finite[0];
  };
  EXPECT_TRUE(check());
  const float before = gradients[1][39999];
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    gradients[1][39999] = bad;
    EXPECT_FALSE(check());
  }
  gradients[1][39999] = before;
  EXPECT_TRUE(check());
}

// ---- narrow copies ----

// Parameters of many sizes, one behind the other, each `shift` elements from where vectors begin.
template <class To>
void check_parameter_copies(int64_t shift) {
  std::vector<int64_t> sizes = {1, 0, 7, 8, 300, 20000};
  sizes.resize(70, 13);
  const int64_t total = total_of(sizes);
  Buffer<float> parameters(total);
  Buffer<To> copies(total), expected(total);
  parameters.fill_random(3);
  std::vector<ParameterCopy<To>> list, on_cpu;
  int64_t at = shift;
  for (const int64_t n : sizes) {
    list.push_back({n, parameters.data() + at, copies.data() + at});
    on_cpu.push_back({n, parameters.data() + at, expected.data() + at});
    at += room(n);
  }
  copy_parameters<To>(nullptr, list);
  cpu::copy_parameters<To>(on_cpu);
  EXPECT_EQ(std::memcmp(copies.data(), expected.data(), static_cast<size_t>(total) * sizeof(To)),
            0);
  for (const ParameterCopy<To>& each : list)
    for (int64_t i = 0; i < each.n; ++i)
      ASSERT_EQ(float(each.copy[i]), float(To(each.parameter[i])));
}

TEST(ParameterCopies, AreTheCpusAndNothingBesideThem) {
  for (const int64_t shift : {0, 1}) {
    check_parameter_copies<BFloat16>(shift);
    check_parameter_copies<Float16>(shift);
  }
}

// ---- verdicts ----

StepVerdict judged(const std::vector<double>& losses, const std::vector<double>& sums,
                   StepMeasures measures) {
  const emulate::GlobalRange of_losses(losses.data(), losses.size() * sizeof(double), false);
  const emulate::GlobalRange of_sums(sums.data(), sums.size() * sizeof(double), false);
  measures.losses = losses.data();
  measures.micro_batches = static_cast<int64_t>(losses.size());
  measures.sums = sums.data();
  measures.sum_count = static_cast<int64_t>(sums.size());
  OnDevice<StepVerdict> verdict{};
  judge_step(nullptr, measures, &verdict.value);
  return verdict.value;
}

TEST(JudgeStep, MeansOfMicroBatchesAndClipping) {
  const StepVerdict clipped = judged({3, 4}, {9, 16}, {.share = 0.5, .max_norm = 2});
  EXPECT_EQ(clipped.loss, 3.5);
  EXPECT_EQ(clipped.norm, 2.5);
  EXPECT_EQ(clipped.factor, 2 / (2.5 + 1e-6));
  EXPECT_EQ(clipped.accepted, 1);
  EXPECT_EQ(judged({}, {9, 16}, {.max_norm = 6}).factor, 1);
  EXPECT_EQ(judged({}, {9, 16}, {}).factor, 1);
}

TEST(JudgeStep, AcceptsNoStepWithoutAFiniteLossAndNorm) {
  const StepVerdict bad = judged({1}, {kInfinity}, {.max_norm = 2});
  EXPECT_EQ(bad.factor, 1);
  EXPECT_EQ(bad.accepted, 0);
  EXPECT_EQ(judged({1, NAN}, {1}, {}).accepted, 0);
  EXPECT_EQ(judged({kInfinity}, {1}, {}).accepted, 0);
}

TEST(JudgeStep, AcceptsNoLossAboveItsLimit) {
  OnDevice<double> limit{4};
  EXPECT_EQ(judged({4}, {1}, {.max_loss = &limit.value}).accepted, 1);
  EXPECT_EQ(judged({4.001}, {1}, {.max_loss = &limit.value}).accepted, 0);
  limit.value = kInfinity;
  EXPECT_EQ(judged({1e30}, {1}, {.max_loss = &limit.value}).accepted, 1);
}

}  // namespace
}  // namespace plinth::kernels::cuda
