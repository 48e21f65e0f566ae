#include "nn/module.h"

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "core/random.h"
#include "nn/layers/basic.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Scale : public Layer {
 public:
  explicit Scale(int64_t size)
      : factor(register_parameter("factor", {size}, init::normal(0, 1))),
        steps(register_buffer("steps", zeros({}, {DType::Int64, {}}))),
        scratch(register_buffer("scratch", zeros({size}), false)) {}
  explicit Scale(const Tensor& shared) : factor(register_parameter("factor", shared)) {}
  Tensor forward(const Tensor& x) override { return x * factor; }

  Tensor factor, steps, scratch;
};

class Pair : public Layer {
 public:
  Pair()
      : offset(register_parameter("offset", zeros({3}))),
        first(make<Scale>("first", 3)),
        second(make<Scale>("second", 3)) {}
  Tensor forward(const Tensor& x) override { return second(first(x)) + offset; }

  Tensor offset;
  Handle<Scale> first, second;
};

class ModuleScopes : public ScopeListener {
 public:
  ModuleScopes() { set_scope_listener(this); }
  ~ModuleScopes() override { set_scope_listener(nullptr); }
  void enter(const char* name, ScopeKind kind) override {
    if (kind == ScopeKind::Module) names.emplace_back(name);
  }
  void leave() override {}
  std::vector<std::string> names;
};

TEST(Module, OpensAScopeOfItsPath) {
  Pair alone;
  ModuleScopes scopes;
  alone(ones({3}));
  EXPECT_THAT(scopes.names, ElementsAre("Pair", "first", "second"));
  // Its path changes with its place.
  const auto inner = std::make_shared<Pair>();
  (*inner)(ones({3}));
  Sequential outer({inner});
  scopes.names.clear();
  outer(ones({3}));
  EXPECT_THAT(scopes.names, ElementsAre("Sequential", "0", "0.first", "0.second"));
}

class Tied : public Module {
 public:
  Tied() : in(make<Scale>("in", 4)), out(make<Scale>("out", in->factor)) {}
  Handle<Scale> in, out;
};

std::vector<std::string> names(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> result;
  for (const auto& entry : tensors) result.push_back(entry.name);
  return result;
}

TEST(Module, NamesAreDottedInOrderOfRegistration) {
  const Pair pair;
  EXPECT_THAT(names(pair.named_parameters()),
              ElementsAre("offset", "first.factor", "second.factor"));
  EXPECT_THAT(names(pair.named_buffers()),
              ElementsAre("first.steps", "first.scratch", "second.steps", "second.scratch"));
  EXPECT_THAT(names(pair.state_dict()), ElementsAre("offset", "first.factor", "second.factor",
                                                    "first.steps", "second.steps"));
  EXPECT_EQ(pair.parameter_count(), 9);
  std::vector<std::string> paths;
  for (const auto& entry : pair.named_modules()) paths.push_back(entry.path);
  EXPECT_THAT(paths, ElementsAre("", "first", "second"));
}

TEST(Module, TypeNameHasNoNamespace) {
  EXPECT_EQ(Pair().type_name(), "Pair");
}

TEST(Module, ParametersTakeGradientsAndBuffersDoNot) {
  Pair pair;
  sum(pair(ones({2, 3}))).backward();
  for (const auto& [name, parameter] : pair.named_parameters()) {
    EXPECT_TRUE(parameter.grad().defined()) << name;
  }
  EXPECT_FALSE(pair.first->scratch.requires_grad());
}

TEST(Module, TiedParameterIsReportedOnce) {
  Tied tied;
  EXPECT_THAT(names(tied.named_parameters()), ElementsAre("in.factor"));
  EXPECT_TRUE(tied.in->factor.is(tied.out->factor));
  tied.to(DType::BFloat16);
  EXPECT_TRUE(tied.in->factor.is(tied.out->factor));
  EXPECT_EQ(tied.out->factor.dtype(), DType::BFloat16);
}

TEST(Module, TiedParameterLoadsUnderEitherName) {
  for (const std::string name : {"in.factor", "out.factor"}) {
    Tied tied;
    StateDict saved = {{name, from_values({1.f, 2.f, 3.f, 4.f}, {4})},
                       {"in.steps", zeros({}, {DType::Int64, {}})}};
    tied.load_state_dict(saved);
    EXPECT_THAT(to_vector(tied.out->factor), ElementsAre(1, 2, 3, 4)) << name;
    saved.push_back({name == "in.factor" ? "out.factor" : "in.factor", saved[0].tensor});
    EXPECT_THAT(tied.load_state_dict(saved).unexpected, ElementsAre()) << name;
  }
}

TEST(Module, BadNamesAreRefused) {
  struct Bad : Module {
    explicit Bad(const std::string& name) {
      register_parameter("weight", zeros({1}));
      register_buffer(name, zeros({1}));
    }
  };
  EXPECT_EQ(message_of([] { Bad("weight"); }),
            "Bad: cannot register buffer \"weight\": the name is taken");
  EXPECT_THAT(message_of([] { Bad("a.b"); }), HasSubstr("\"a.b\": a name is not empty"));
  EXPECT_THAT(message_of([] { Bad(""); }), HasSubstr("has no dot"));
  struct Null : Module {
    Null() { register_module("child", std::shared_ptr<Pair>()); }
  };
  EXPECT_EQ(message_of([] { Null(); }), "Null: module \"child\" is null");
}

TEST(Module, TrainAndEvalReachEveryChild) {
  Pair pair;
  pair.eval();
  EXPECT_FALSE(pair.is_training() || pair.first->is_training() || pair.second->is_training());
  pair.train();
  EXPECT_TRUE(pair.is_training() && pair.first->is_training() && pair.second->is_training());
}

TEST(Module, ApplyVisitsChildrenBeforeTheirParent) {
  Pair pair;
  std::vector<const Module*> seen;
  pair.apply([&](Module& module) { seen.push_back(&module); });
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen.back(), &pair);
}

TEST(Module, ZeroGradLetsGoOrOverwrites) {
  Pair pair;
  sum(pair(ones({3}))).backward();
  Tensor gradient = pair.offset.grad();
  pair.zero_grad(false);
  EXPECT_TRUE(pair.offset.grad().is(gradient));
  EXPECT_THAT(to_vector(gradient), ElementsAre(0, 0, 0));
  pair.zero_grad();
  EXPECT_FALSE(pair.offset.grad().defined());
}

TEST(Module, FrozenParametersTakeNoGradient) {
  Pair pair;
  pair.first->set_requires_grad(false);
  sum(pair(ones({3}))).backward();
  EXPECT_FALSE(pair.first->factor.grad().defined());
  EXPECT_TRUE(pair.second->factor.grad().defined());
}

TEST(Module, ConversionReachesHandlesAndKeepsIntegers) {
  Pair pair;
  sum(pair(ones({3}))).backward();
  pair.to(DType::Float64);
  EXPECT_EQ(pair.first->factor.dtype(), DType::Float64);
  EXPECT_EQ(pair.first->scratch.dtype(), DType::Float64);
  EXPECT_EQ(pair.first->steps.dtype(), DType::Int64);
  EXPECT_FALSE(pair.offset.grad().defined());
  sum(pair(ones({3}, kFloat64))).backward();
  EXPECT_EQ(pair.offset.grad().dtype(), DType::Float64);
  EXPECT_EQ(message_of([&] { pair.to(DType::Int64); }),
            "Pair: cannot convert parameters to int64, expected floating point");
}

TEST(Module, StateDictRoundTrip) {
  Pair source, target;
  source.first->steps.fill_(5);
  const LoadReport report = target.load_state_dict(source.state_dict());
  EXPECT_TRUE(report.missing.empty() && report.unexpected.empty());
  for (const auto& [name, tensor] : source.state_dict()) {
    EXPECT_EQ(to_vector(tensor), to_vector(find(target.state_dict(), name))) << name;
  }
  source.first->steps.fill_(6);
  EXPECT_EQ(target.first->steps.item_int(), 5);
}

TEST(Module, LoadConvertsDtypes) {
  Pair pair;
  StateDict saved;
  for (const auto& [name, tensor] : pair.state_dict()) {
    saved.push_back({name, full(tensor.shape(), 2, kFloat64)});
  }
  pair.load_state_dict(saved);
  EXPECT_EQ(pair.offset.dtype(), DType::Float32);
  EXPECT_THAT(to_vector(pair.offset), ElementsAre(2, 2, 2));
  EXPECT_EQ(pair.first->steps.item_int(), 2);
}

TEST(Module, FailedLoadListsEverythingAndChangesNothing) {
  Pair pair;
  const std::vector<double> before = to_vector(pair.first->factor);
  const StateDict saved = {{"first.factor", ones({3})},
                           {"second.factor", ones({4})},
                           {"first.steps", ones({})},
                           {"extra", ones({1})}};
  EXPECT_EQ(message_of([&] { pair.load_state_dict(saved); }),
            "Pair: missing: offset, second.steps; unexpected: extra; "
            "of another shape: second.factor has [4], expected [3]");
  EXPECT_EQ(message_of([&] { pair.load_state_dict(saved, false); }),
            "Pair: of another shape: second.factor has [4], expected [3]");
  EXPECT_EQ(to_vector(pair.first->factor), before);
  const LoadReport report = pair.load_state_dict({{"offset", ones({3})}, {"x", ones({})}}, false);
  EXPECT_EQ(report.missing.size(), 4u);
  EXPECT_THAT(report.unexpected, ElementsAre("x"));
}

TEST(Module, LongListsOfNamesAreCut) {
  Pair pair;
  StateDict saved = pair.state_dict();
  for (int i = 0; i < 20; ++i) saved.push_back({detail::concat("x", i), ones({})});
  EXPECT_THAT(message_of([&] { pair.load_state_dict(saved); }),
              AllOf(HasSubstr("x7 and 12 more"), Not(HasSubstr("x8"))));
}

TEST(Module, ResetDependsOnSeedAndNameOnly) {
  manual_seed(1);
  Pair a;
  manual_seed(2);
  Pair b;
  EXPECT_NE(to_vector(a.first->factor), to_vector(b.first->factor));
  a.reset_parameters(9);
  b.reset_parameters(9);
  EXPECT_EQ(to_vector(a.first->factor), to_vector(b.first->factor));
  EXPECT_NE(to_vector(a.first->factor), to_vector(a.second->factor));
  b.reset_parameters(10);
  EXPECT_NE(to_vector(a.first->factor), to_vector(b.first->factor));
}

TEST(Module, SkippedInitialisationDrawsNothing) {
  manual_seed(3);
  {
    const SkipInit skip;
    Pair pair;
  }
  EXPECT_EQ(generator().state().op, 0u);
  Pair pair;
  EXPECT_EQ(generator().state().op, 2u);
}

TEST(Module, ObserversSeeNestedCalls) {
  struct Log : ForwardObserver {
    void enter(const Module& module) override { text.append("(").append(module.type_name()); }
    void leave(const Module&, const Tensor& output) override {
      text += output.shape() == Shape{2, 3} ? ")" : "?";
    }
    std::string text;
  };
  Pair pair;
  Log log;
  pair(ones({2, 3}));
  EXPECT_EQ(log.text, "(Pair(Scale)(Scale))");
}

}  // namespace
}  // namespace plinth::nn
