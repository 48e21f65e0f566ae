#include "nn/optim/optimizer.h"

#include <functional>
#include <memory>

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "nn/optim/adafactor.h"
#include "nn/optim/adamw.h"
#include "nn/optim/lion.h"
#include "nn/optim/muon.h"
#include "nn/optim/sgd.h"
#include "tests/nn/optim_testing.h"

namespace plinth::nn {
namespace {

using testing::HasSubstr;
using Groups = std::vector<ParameterGroup>;

// ---- what holds for every optimizer ----

struct Kind {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(const Groups&, NarrowUpdate)> make;
};

const Kind kKinds[] = {
    {"sgd",
     [](const Groups& groups, NarrowUpdate narrow) {
       return std::make_unique<Sgd>(groups,
                                    SgdOptions{.lr = 0.1, .momentum = 0.9, .narrow = narrow});
     }},
    {"adamw",
     [](const Groups& groups, NarrowUpdate narrow) {
       return std::make_unique<AdamW>(groups, AdamWOptions{.lr = 0.1, .narrow = narrow});
     }},
    {"lion",
     [](const Groups& groups, NarrowUpdate narrow) {
       return std::make_unique<Lion>(groups, LionOptions{.lr = 0.1, .narrow = narrow});
     }},
    {"muon",
     [](const Groups& groups, NarrowUpdate narrow) {
       return std::make_unique<Muon>(groups, Groups{}, MuonOptions{.lr = 0.1, .narrow = narrow});
     }},
    {"adafactor",
     [](const Groups& groups, NarrowUpdate narrow) {
       return std::make_unique<Adafactor>(groups, AdafactorOptions{.lr = 0.1, .narrow = narrow});
     }},
};

class EveryOptimizer : public testing::TestWithParam<Kind> {
 protected:
  static ParameterGroup parameters(TensorOptions options = kFloat64) {
    return leaves({{3, 4}, {5, 2}}, options);
  }
  static std::unique_ptr<Optimizer> make(const ParameterGroup& group,
                                         NarrowUpdate narrow = NarrowUpdate::Master) {
    return GetParam().make({group}, narrow);
  }
};

INSTANTIATE_TEST_SUITE_P(All, EveryOptimizer, testing::ValuesIn(kKinds),
                         [](const auto& info) { return info.param.name; });

// Each parameter in two parts, which lie where its elements do.
std::vector<Optimizer::Part> halves(const Tensor& parameter) {
  const int64_t middle = parameter.numel() / 2 + 1;
  std::vector<Optimizer::Part> parts;
  for (const auto& [begin, end] : {std::pair{int64_t{0}, middle}, {middle, parameter.numel()}}) {
    Tensor values = Tensor::from_storage(parameter.storage(), {end - begin}, {1},
                                         parameter.offset() + begin, parameter.dtype());
    parts.push_back({begin, values.set_requires_grad()});
  }
  return parts;
}

TEST_P(EveryOptimizer, StepsPartsWithTheBitsOfTheWholeOrRefuses) {
  const TensorOptions narrow{DType::BFloat16, {}};
  const ParameterGroup whole = parameters(narrow), cut = parameters(narrow);
  const auto one = make(whole), two = make(cut);
  if (!one->is_elementwise()) {
    EXPECT_THAT(message_of([&] { two->keep_parts(halves); }),
                HasSubstr("updates a matrix as a whole, so that ranks cannot share it"));
    return;
  }
  two->keep_parts(halves);
  for (uint32_t step = 0; step < 3; ++step) {
    set_gradients(whole, step);
    set_gradients(cut, step);
    const Tensors parts = two->parameters();
    for (size_t i = 0; i < parts.size(); ++i) {
      const Tensor gradient = cut.parameters[i / 2].tensor.grad().reshape({-1});
      const int64_t begin = i % 2 == 0 ? 0 : gradient.numel() / 2 + 1;
      Tensor(parts[i]).set_grad(gradient.narrow(0, begin, parts[i].numel()));
    }
    one->step(0.5);
    two->step(0.5);
  }
  EXPECT_EQ(values_of(cut), values_of(whole));
  std::vector<std::string> names;
  for (const std::string& state : two->state_names()) {
    names.push_back(state + ".b@0");
    names.push_back(state + ".b@6");
    EXPECT_TRUE(find(one->state_dict(), state + ".b").defined());
  }
  for (const std::string& name : names)
    EXPECT_TRUE(find(two->state_dict(), name).defined()) << name;
  EXPECT_THAT(message_of([&] { one->keep_parts(halves); }),
              HasSubstr("takes parts before its first step"));
  EXPECT_THAT(
      message_of([&] { make(parameters(narrow), NarrowUpdate::Stochastic)->keep_parts(halves); }),
      HasSubstr("so that ranks cannot share it"));
}

TEST_P(EveryOptimizer, ResumesWithTheSameBits) {
  const ParameterGroup straight = parameters(), resumed = parameters();
  const auto one = make(straight), before = make(resumed);
  for (uint32_t step = 0; step < 3; ++step) {
    set_gradients(straight, step);
    set_gradients(resumed, step);
    one->step();
    before->step();
  }
  StateDict saved;
  for (const auto& [name, tensor] : before->state_dict()) saved.push_back({name, tensor.clone()});
  const auto after = make(resumed);
  after->load_state_dict(saved);
  for (uint32_t step = 3; step < 6; ++step) {
    set_gradients(straight, step);
    set_gradients(resumed, step);
    one->step();
    after->step();
  }
  EXPECT_EQ(values_of(straight), values_of(resumed));
}

TEST_P(EveryOptimizer, ParameterWithoutGradientStays) {
  const ParameterGroup group = parameters();
  const auto before = values_of(group);
  const auto optimizer = make(group);
  set_gradients(group, 0);
  Tensor(group.parameters[0].tensor).set_grad({});
  optimizer->step();
  EXPECT_EQ(values_of(group)[0], before[0]);
  EXPECT_NE(values_of(group)[1], before[1]);
  EXPECT_EQ(to_vector(find(optimizer->state_dict(), "steps")), (std::vector<double>{0, 1}));
}

TEST_P(EveryOptimizer, GradScaleIsAppliedToGradients) {
  const ParameterGroup scaled = parameters(), plain = parameters();
  const auto one = make(scaled), other = make(plain);
  for (uint32_t step = 0; step < 2; ++step) {
    set_gradients(scaled, step);
    set_gradients(plain, step);
    for (const auto& entry : plain.parameters) entry.tensor.grad().mul_(0.25);
    one->step(0.25);
    other->step();
  }
  EXPECT_EQ(values_of(scaled), values_of(plain));
}

TEST_P(EveryOptimizer, LearningRateZeroMovesNothing) {
  const ParameterGroup group = parameters();
  const auto before = values_of(group);
  const auto optimizer = make(group);
  optimizer->set_lr(0);
  set_gradients(group, 0);
  optimizer->step();
  EXPECT_EQ(values_of(group), before);
}

TEST_P(EveryOptimizer, MasterWeightsFollowTheFloat32Trajectory) {
  const TensorOptions bf16 = {DType::BFloat16, {}};
  const ParameterGroup narrow = parameters(bf16), wide = parameters(bf16);
  for (const auto& entry : wide.parameters) {
    Tensor(entry.tensor).set_data(entry.tensor.detach().to(DType::Float32));
  }
  const auto one = make(narrow), other = make(wide);
  for (uint32_t step = 0; step < 5; ++step) {
    set_gradients(narrow, step, DType::Float32);
    set_gradients(wide, step, DType::Float32);
    one->step();
    other->step();
  }
  for (size_t i = 0; i < 2; ++i) {
    const Tensor expected = wide.parameters[i].tensor.detach();
    const std::string name = narrow.parameters[i].name;
    EXPECT_EQ(to_vector(find(one->state_dict(), "master." + name)), to_vector(expected));
    EXPECT_EQ(values_of(narrow)[i], to_vector(expected.to(DType::BFloat16)));
  }
}

TEST_P(EveryOptimizer, NarrowGradientsAreTaken) {
  const ParameterGroup group = parameters({DType::BFloat16, {}});
  const auto before = values_of(group);
  const auto optimizer = make(group, NarrowUpdate::Nearest);
  set_gradients(group, 0);
  optimizer->step();
  EXPECT_NE(values_of(group), before);
  EXPECT_FALSE(find(optimizer->state_dict(), "master.a").defined());
}

TEST_P(EveryOptimizer, WritesAreCounted) {
  const ParameterGroup group = parameters();
  const auto optimizer = make(group);
  set_gradients(group, 0);
  const uint32_t before = group.parameters[0].tensor.version();
  optimizer->step();
  EXPECT_GT(group.parameters[0].tensor.version(), before);
}

TEST_P(EveryOptimizer, StateThatDoesNotFitIsRefusedWhole) {
  const ParameterGroup group = parameters();
  const auto optimizer = make(group);
  set_gradients(group, 0);
  optimizer->step();
  const StateDict saved = optimizer->state_dict();
  StateDict bad = saved;
  bad[0].name = "nonsense";
  EXPECT_THAT(message_of([&] { optimizer->load_state_dict(bad); }),
              HasSubstr("missing: " + saved[0].name + "; unexpected: nonsense"));
  EXPECT_TRUE(find(optimizer->state_dict(), saved[0].name).is(saved[0].tensor));
  const auto smaller = GetParam().make({leaves({{3, 4}})}, NarrowUpdate::Master);
  EXPECT_THAT(message_of([&] { smaller->load_state_dict(saved); }),
              HasSubstr("the state's \"steps\" has shape [2], expected [1]"));
  EXPECT_THAT(message_of([&] { optimizer->load_state_dict({}); }), HasSubstr("\"steps\""));
}

// ---- groups ----

TEST(Optimizer, GroupsHaveTheirOwnRateAndDecay) {
  ParameterGroup decayed = leaves({{2}}), slow = leaves({{2}});
  slow.parameters[0].name = "slow";
  decayed.weight_decay = 0.5;
  slow.lr_scale = 0.1;
  const auto before = values_of(decayed);
  Sgd optimizer({decayed, slow}, {.lr = 0.2});
  for (const auto& group : {decayed, slow}) {
    Tensor(group.parameters[0].tensor).set_grad(ones({2}, kFloat64));
  }
  optimizer.step();
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_DOUBLE_EQ(values_of(decayed)[0][i], before[0][i] - 0.2 * (1 + 0.5 * before[0][i]));
    EXPECT_DOUBLE_EQ(values_of(slow)[0][i], before[0][i] - 0.02);
  }
}

TEST(Optimizer, LionFollowsItsRule) {
  const ParameterGroup group = leaves({{4}});
  std::vector<double> p = values_of(group)[0], m(4);
  Lion optimizer({group}, {.lr = 0.01, .weight_decay = 0.1});
  for (uint32_t step = 0; step < 4; ++step) {
    set_gradients(group, step);
    const std::vector<double> g = to_vector(group.parameters[0].tensor.grad());
    for (size_t i = 0; i < 4; ++i) {
      const double c = 0.9 * m[i] + 0.1 * g[i];
      p[i] = p[i] * (1 - 0.01 * 0.1) - 0.01 * (c > 0 ? 1 : -1);
      m[i] = 0.99 * m[i] + 0.01 * g[i];
    }
    optimizer.step();
  }
  expect_close(group.parameters[0].tensor, p, 1e-14);
}

// The update does not depend on the gradient's scale: by a power of two, not a bit of it changes.
TEST(Optimizer, AdafactorTakesLargeAndSmallGradients) {
  const auto run = [](double scale) {
    const ParameterGroup group = leaves({{3, 4}, {2, 3, 4}, {5}}, {});
    Adafactor optimizer({group}, {.lr = 0.1, .eps1 = 1e-30});
    for (uint32_t step = 0; step < 3; ++step) {
      set_gradients(group, step);
      optimizer.step(scale);
    }
    return values_of(group);
  };
  const auto expected = run(1);
  for (const int power : {-40, 33, 60}) EXPECT_EQ(run(std::ldexp(1, power)), expected) << power;
}

TEST(Optimizer, AdafactorLeavesParametersWithoutSlopeWhateverItsEpsilon) {
  for (const TensorOptions& options : {TensorOptions{}, kFloat64}) {
    const ParameterGroup group = leaves({{3, 4}, {5}}, options);
    const auto before = values_of(group);
    Adafactor optimizer({group}, {.lr = 0.1, .eps1 = 1e-200});
    for (const NamedTensor& entry : group.parameters)
      Tensor(entry.tensor).set_grad(zeros(entry.tensor.shape(), entry.tensor.options()));
    optimizer.step();
    EXPECT_EQ(values_of(group), before);
  }
}

TEST(Optimizer, StochasticRoundingIsKeyedByTheStep) {
  const auto run = [](uint64_t seed) {
    const ParameterGroup group = leaves({{64}, {64}}, {DType::BFloat16, {}});
    AdamW optimizer({group}, {.lr = 1e-3, .narrow = NarrowUpdate::Stochastic, .seed = seed});
    for (uint32_t step = 0; step < 3; ++step) {
      set_gradients(group, step);
      optimizer.step();
    }
    return values_of(group);
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST(Optimizer, ZeroGradLetsGoOrOverwrites) {
  const ParameterGroup group = leaves({{2}});
  Sgd optimizer({group});
  set_gradients(group, 0);
  optimizer.zero_grad(false);
  EXPECT_THAT(to_vector(group.parameters[0].tensor.grad()), testing::ElementsAre(0, 0));
  optimizer.zero_grad();
  EXPECT_FALSE(group.parameters[0].tensor.grad().defined());
}

TEST(Optimizer, BadArgumentsAreNamed) {
  const ParameterGroup group = leaves({{2}});
  const auto with = [&](AdamWOptions options) { AdamW optimizer({group}, options); };
  EXPECT_EQ(message_of([&] { with({.lr = -1}); }), "AdamW: lr is -1, expected at least 0");
  EXPECT_THAT(message_of([&] { with({.beta1 = 1}); }),
              HasSubstr("beta1 is 1, expected at least 0"));
  EXPECT_THAT(message_of([&] { with({.eps = std::nan("")}); }), HasSubstr("eps is nan"));
  EXPECT_THAT(message_of([&] { with({.weight_decay = -0.1}); }), HasSubstr("weight_decay is -0.1"));
  EXPECT_THAT(message_of([&] { Sgd({group}, {.nesterov = true}); }), HasSubstr("momentum above 0"));
  for (const double eps : {-1e-8, std::nan("")})
    EXPECT_THAT(message_of([&] { Muon({}, {}, {.adamw_eps = eps}); }),
                HasSubstr("Muon: adamw_eps is "));
  EXPECT_THAT(message_of([&] { Muon({group}, {}); }),
              HasSubstr("parameter a has shape [2], expected a matrix"));
  EXPECT_THAT(message_of([&] { Adafactor({group}, {.narrow = NarrowUpdate::Stochastic}); }),
              HasSubstr("stochastic rounding"));
  EXPECT_THAT(message_of([&] { Adafactor({group}, {.beta2_decay = 0.1}); }),
              HasSubstr("beta2_decay"));
  EXPECT_EQ(message_of([&] { Sgd({group, group}); }), "SGD: parameter a is given twice");
  EXPECT_THAT(message_of([&] {
                Sgd({leaves({{2}}, {DType::Float16, {}})}, {.narrow = NarrowUpdate::Stochastic});
              }),
              HasSubstr("float16, but stochastic rounding is for bfloat16"));
  Sgd optimizer({group});
  EXPECT_THAT(message_of([&] { optimizer.set_lr(std::nan("")); }), HasSubstr("lr is nan"));
  set_gradients(group, 0, DType::Float32);
  EXPECT_EQ(message_of([&] { optimizer.step(); }),
            "SGD: the gradient of a has dtype float32, expected the parameter's, float64");
}

TEST(Optimizer, TensorsThatCannotBeStepped) {
  const auto with = [](const Tensor& tensor) {
    Sgd optimizer({ParameterGroup{.parameters = {{"w", tensor}}}});
  };
  const Tensor leaf = ones({2}).set_requires_grad();
  EXPECT_THAT(message_of([&] { with(leaf * 2.0); }), HasSubstr("parameter w is not a leaf"));
  EXPECT_THAT(message_of([&] {
                with(zeros({2}, {DType::Int64, {}}));
              }),
              HasSubstr("w has dtype int64"));
  EXPECT_THAT(message_of([&] {
                with(ones({2, 3}).transpose(0, 1));
              }),
              HasSubstr("w is not contiguous"));
}

// ---- Muon's orthogonalisation ----

TEST(NewtonSchulz, BringsSingularValuesNearOne) {
  for (const Shape& shape : {Shape{6, 20}, Shape{20, 6}, Shape{8, 8}}) {
    const Tensor y = newton_schulz(values(shape, 3), 5);
    ASSERT_EQ(y.shape(), shape);
    const Tensor wide = shape[0] > shape[1] ? y.transpose(0, 1) : y;
    const Tensor gram = matmul(wide, wide.transpose(0, 1));
    // The mean of the squared singular values is the trace over the size.
    const double mean_square = sum(wide * wide).item() / static_cast<double>(wide.size(0));
    EXPECT_GT(mean_square, 0.4) << shape;
    EXPECT_LT(mean_square, 1.5) << shape;
    for (int64_t i = 0; i < gram.size(0); ++i) EXPECT_LT(gram[i][i].item(), 1.6) << shape;
  }
}

TEST(NewtonSchulz, ZerosStayZeros) {
  EXPECT_EQ(norm(newton_schulz(zeros({3, 4}))).item(), 0);
}

TEST(NewtonSchulz, NeedsAMatrix) {
  EXPECT_EQ(message_of([] { newton_schulz(zeros({3})); }),
            "newton_schulz: x has shape [3], expected a matrix");
}

}  // namespace
}  // namespace plinth::nn
