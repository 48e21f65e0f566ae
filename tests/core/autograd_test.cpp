#include "core/autograd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"
#include "core/gradcheck.h"
#include "core/ops/activation.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "core/random.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor leaf(std::initializer_list<double> values) {
  return from_values<double>(values, {static_cast<int64_t>(values.size())}).set_requires_grad();
}

TEST(Autograd, GeluOfHugeValuesHasSlopeOneOrZeroAndNoCurvature) {
  for (const GeluForm form : {GeluForm::Exact, GeluForm::Tanh, GeluForm::Quick}) {
    const Tensor x =
        from_values<float>({-3e38F, -2e19F, -2e13F, 2e13F, 2e19F, 3e38F}, {6}).set_requires_grad();
    const Tensor slope = grad({sum(gelu(x, form))}, {x}, {}, {.create_graph = true})[0];
    EXPECT_THAT(to_vector(slope), ElementsAre(0, 0, 0, 1, 1, 1));
    sum(slope).backward();
    EXPECT_THAT(to_vector(x.grad()), ElementsAre(0, 0, 0, 0, 0, 0));
  }
}

TEST(Autograd, ChainRuleThroughSharedInput) {
  Tensor x = leaf({1, 2, 3});
  sum(x * x + x * 3.0).backward();
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(5, 7, 9));
}

TEST(Autograd, GradientsAccumulateOverCalls) {
  Tensor x = leaf({1, 2});
  sum(x * 2.0).backward();
  sum(x * 3.0).backward();
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(5, 5));
}

TEST(Autograd, BroadcastGradientIsSummed) {
  Tensor row = leaf({1, 2, 3});
  const Tensor matrix = ones({4, 3}, {DType::Float64, {}});
  sum(matrix * row).backward();
  EXPECT_THAT(to_vector(row.grad()), ElementsAre(4, 4, 4));
}

TEST(Autograd, SecondBackwardNeedsRetainGraph) {
  Tensor x = leaf({1, 2});
  const Tensor y = sum(x * x);
  y.backward({}, true);
  y.backward();
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(4, 8));
  EXPECT_THAT(message_of([&] { y.backward(); }), HasSubstr("retain_graph"));
}

TEST(Autograd, GradOfIntermediateTensorLeavesLeavesAlone) {
  Tensor x = leaf({1, 2});
  const Tensor h = x * x;
  const Tensor y = sum(h * h);
  EXPECT_THAT(to_vector(grad({y}, {h})[0]), ElementsAre(2, 8));
  EXPECT_FALSE(x.grad().defined());
}

TEST(Autograd, UnusedInputIsAnErrorUnlessAllowed) {
  Tensor x = leaf({1}), z = leaf({1});
  EXPECT_THAT(message_of([&] { grad({sum(x * x)}, {z}); }), HasSubstr("input 0 does not matter"));
  EXPECT_FALSE(grad({sum(x * x)}, {z}, {}, {.allow_unused = true})[0].defined());
}

TEST(Autograd, SecondDerivative) {
  Tensor x = leaf({2, 3});
  const Tensor first = grad({sum(x * x * x)}, {x}, {}, {.create_graph = true})[0];
  EXPECT_THAT(to_vector(grad({sum(first)}, {x})[0]), ElementsAre(12, 18));
}

TEST(Autograd, NoGradRecordsNothing) {
  Tensor x = leaf({1});
  const NoGradGuard no_grad;
  EXPECT_FALSE((x * 2.0).requires_grad());
}

TEST(Autograd, InPlaceWriteFlowsThrough) {
  Tensor x = leaf({1, 2, 3});
  Tensor y = x * 2.0;
  y.mul_(y);  // (2x)^2
  sum(y).backward();
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(8, 16, 24));
}

TEST(Autograd, InPlaceWriteToViewReachesBase) {
  Tensor x = leaf({1, 2, 3});
  Tensor y = x * 1.0;
  Tensor part = y.slice(0, 1, 3);
  part.mul_(10);
  sum(y * y).backward();  // x0^2 + (10 x1)^2 + (10 x2)^2
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(2, 400, 600));
}

TEST(Autograd, ViewSeesWriteToItsBase) {
  Tensor x = leaf({1, 2, 3});
  Tensor y = x * 1.0;
  const Tensor part = y.slice(0, 0, 2);
  y.mul_(3);
  sum(part).backward();
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(3, 3, 0));
}

TEST(Autograd, ConstantWrittenIntoViewCutsItsGradient) {
  Tensor x = leaf({1, 2, 3});
  Tensor y = x * 1.0;
  y[1].fill_(7);
  sum(y * y).backward();
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(2, 0, 6));
}

TEST(Autograd, ValueWrittenIntoZerosGetsItsGradient) {
  Tensor x = leaf({1, 2});
  Tensor buffer = zeros({4}, {DType::Float64, {}});
  buffer.slice(0, 1, 3).copy_(x * x);
  sum(buffer * 5.0).backward();
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(10, 20));
}

TEST(Autograd, StaleSavedTensorIsAnError) {
  Tensor x = leaf({1, 2});
  Tensor y = x * 2.0;
  const Tensor z = y * y;
  y.add_(y);
  EXPECT_THAT(message_of([&] { sum(z).backward(); }),
              HasSubstr("mul: a tensor of shape [2] needed for its gradient was changed in place"));
}

TEST(Autograd, LeafWrittenInPlaceIsAnErrorUnderRecording) {
  Tensor x = leaf({1});
  EXPECT_THAT(message_of([&] { x.mul_(2); }), HasSubstr("leaf"));
  const NoGradGuard no_grad;
  x.mul_(2);
  EXPECT_EQ(x.item(), 2);
}

TEST(Autograd, HookReplacesGradient) {
  Tensor x = leaf({1, 2});
  const Tensor y = x * 2.0;
  y.register_hook([](const Tensor& g) { return g * 10.0; });
  sum(y).backward();
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(20, 20));
}

TEST(Autograd, PostAccumulateHookSeesFinalGradientOnce) {
  Tensor x = leaf({1, 2});
  int calls = 0;
  x.register_post_accumulate_grad_hook([&](Tensor& t) {
    ++calls;
    EXPECT_THAT(to_vector(t.grad()), ElementsAre(4, 6));
  });
  sum(x * x + x * 2.0).backward();
  EXPECT_EQ(calls, 1);
}

TEST(Autograd, OpWithoutGradientRaisesWhenAsked) {
  Tensor x = leaf({1, 2});
  const Tensor y = record_undifferentiable("mystery", {x}, x.detach().clone());
  EXPECT_EQ(message_of([&] { sum(y).backward(); }),
            "mystery: has no gradient, but one was asked for");
}

TEST(Autograd, CustomOp) {
  Tensor x = leaf({2, 3});
  const auto cube = [](const Tensors& in) {
    return custom_op(
        "cube", in, [](const Tensors& a) { return a[0] * a[0] * a[0]; },
        [](const Tensors& a, const Tensor& dy) -> Tensors { return {dy * a[0] * a[0] * 3.0}; });
  };
  EXPECT_EQ(gradcheck([&](const Tensors& in) { return Tensors{cube(in)}; }, {x}), "");
  EXPECT_EQ(gradgradcheck([&](const Tensors& in) { return Tensors{cube(in)}; }, {x}), "");
}

// x * factor, whose backward adds to what others gave. `given` gets how often that was something.
Tensor scaled_with_given(const Tensor& x, double factor, int* given) {
  return record("scaled", {x}, x.detach() * factor, {},
                [=](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  const Tensor other = c.take_given(0);
                  *given += other.defined();
                  return {other.defined() ? dy * factor + other : dy * factor};
                });
}

TEST(Autograd, AnOpMayAddWhatOthersGave) {
  int given = 0;
  Tensor x = leaf({1, 2});
  const Tensor inner = x * 1.0;
  Tensor y = scaled_with_given(inner, 2, &given);
  y = y + inner * 3.0;  // runs first in backward
  y = y + scaled_with_given(inner, 5, &given);
  sum(y).backward({}, true);
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(10, 10));
  EXPECT_EQ(given, 1);  // only `inner * 3`, by the first: the sum that it returned is later
  EXPECT_THAT(to_vector(grad({sum(y)}, {inner}, {}, {.retain_graph = true})[0]),
              ElementsAre(10, 10));
  EXPECT_EQ(given, 2);
}

TEST(Autograd, EmbeddingAddsToTheGradientOfATiedHead) {
  for (const DType dtype : {DType::Float32, DType::BFloat16}) {
    Tensor table = ones({3, 2}, {dtype, {}}).set_requires_grad();
    const Tensor found = embedding(table, from_values<int64_t>({2, 0, 2}, {3}));
    const Tensor head = sum(table * 5.0);
    (sum(found) + head).backward();
    EXPECT_THAT(to_vector(table.grad()), ElementsAre(6, 6, 5, 5, 7, 7));
  }
}

TEST(Autograd, NothingIsTakenThatIsToBeRecorded) {
  int given = 0;
  Tensor x = leaf({1, 2});
  const Tensor y = scaled_with_given(x, 2, &given) + x * x * x;
  const Tensor dx = grad({sum(y)}, {x}, {}, {.create_graph = true})[0];
  EXPECT_EQ(given, 0);
  EXPECT_THAT(to_vector(dx), ElementsAre(5, 14));
  EXPECT_THAT(to_vector(grad({sum(dx)}, {x})[0]), ElementsAre(6, 12));
}

TEST(Autograd, GradcheckFindsWrongGradient) {
  Tensor x = leaf({2, 3});
  const auto wrong = [](const Tensors& in) {
    return Tensors{custom_op(
        "wrong", in, [](const Tensors& a) { return a[0] * a[0]; },
        [](const Tensors& a, const Tensor& dy) -> Tensors { return {dy * a[0]}; })};
  };
  EXPECT_THAT(gradcheck(wrong, {x}), HasSubstr("gradient of input 0, element 0"));
}

TEST(Autograd, CheckpointGivesTheSameGradients) {
  Tensor w = leaf({0.5, -1, 2});
  const auto f = [&w](const Tensors& in) { return tanh(in[0] * w) * w; };
  Tensor x = leaf({1, 2, 3});
  sum(f({x * 1.0})).backward();
  const auto dx = to_vector(x.grad()), dw = to_vector(w.grad());
  x.set_grad({});
  w.set_grad({});
  sum(checkpoint(f, {x * 1.0})).backward();
  EXPECT_EQ(to_vector(x.grad()), dx);
  EXPECT_EQ(to_vector(w.grad()), dw);
}

TEST(Autograd, CheckpointReplaysRandomKeys) {
  manual_seed(7);
  Tensor x = leaf({1, 2, 3});
  const auto f = [](const Tensors& in) { return in[0] * rand({3}, {DType::Float64, {}}); };
  const Tensor y = checkpoint(f, {x});
  const auto after = generator().state().op;
  sum(y).backward();
  const auto drawn = to_vector(y), gradient = to_vector(x.grad());
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(drawn[i], gradient[i] * (i + 1), 1e-12);
  EXPECT_EQ(generator().state().op, after);
}

TEST(Autograd, AnomalyModeNamesTheOp) {
  const AnomalyGuard anomaly;
  Tensor x = leaf({-1});
  EXPECT_THAT(message_of([&] { log(x); }), HasSubstr("log: made a NaN"));
  Tensor zero = leaf({0});
  EXPECT_THAT(message_of([&] { sum(sqrt(zero) * 0.0).backward(); }),
              HasSubstr("sqrt (backward): made a NaN"));
}

TEST(Autograd, DeepGraphsNeedNoStack) {
  Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 300000; ++i) y = y + 1.0;
  sum(y).backward();
  EXPECT_EQ(x.grad().item(), 1);
}

TEST(Autograd, SmallGradientsOfACumulativeSumSurviveLargeOnes) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double large : {1e20, kInfinity}) {
    const Tensor x = leaf({1, 2, 3});
    cumsum(x, 0).backward(from_values<double>({large, 1, 1}, {3}));
    EXPECT_THAT(to_vector(x.grad()), ElementsAre(large, 2, 1));
  }
}

TEST(Autograd, NothingLeaksThroughCycles) {
  std::weak_ptr<Storage> storage;
  {
    Tensor x = leaf({1, 2});
    Tensor y = exp(x);  // saves its own output
    Tensor part = y[0];
    part.mul_(part);  // saves a view that is then written
    y.mul_(x);
    storage = y.storage();
  }
  EXPECT_TRUE(storage.expired());
}

}  // namespace
}  // namespace plinth
