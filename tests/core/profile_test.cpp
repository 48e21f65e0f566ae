// Scopes, who listens to them, and the profile made of them.

#include "core/profile/profiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/error.h"
#include "core/ops/factories.h"
#include "core/ops/normalization.h"
#include "core/ops/reduce.h"

namespace plinth {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class Listening : public ScopeListener {
 public:
  Listening() { set_scope_listener(this); }
  ~Listening() override { set_scope_listener(nullptr); }
  void enter(const char* name, ScopeKind kind) override {
    heard.push_back(std::string(name) + (kind == ScopeKind::Backward ? " (backward)" : ""));
  }
  void leave() override { heard.emplace_back("end"); }
  void inputs(const Tensors& tensors) override {
    for (const Tensor& x : tensors) {
      if (x.defined()) shapes.push_back(x.shape());
    }
  }

  std::vector<std::string> heard;
  std::vector<Shape> shapes;
};

TEST(OpScope, ListenerHearsOpsAndTheirGradientsByName) {
  const Tensor x = randn({3, 4}).set_requires_grad();
  const Tensor weight = ones({4});
  const Tensor dy = ones({3, 4});
  const Listening listener;
  const Tensor y = layer_norm(x, weight, {});
  EXPECT_THAT(listener.heard, ElementsAre("layer_norm", "end"));
  EXPECT_THAT(listener.shapes, testing::Contains(Shape{3, 4}));
  y.backward(dy);
  EXPECT_THAT(listener.heard,
              ElementsAre("layer_norm", "end", "backward", "layer_norm_backward (backward)", "end",
                          "accumulate_grad (backward)", "end", "end"));
}

TEST(OpScope, InnermostScopeIsTheCurrentOne) {
  EXPECT_STREQ(current_scope(), "");
  const OpScope outer("outer");
  {
    const OpScope inner("inner");
    EXPECT_STREQ(current_scope(), "inner");
    std::thread([] { EXPECT_STREQ(current_scope(), ""); }).join();
  }
  EXPECT_STREQ(current_scope(), "outer");
}

TEST(OpScope, PermanentNamesAreEqualIfTheirTextIs) {
  std::string text = "some_op";
  const char* const name = permanent_name(text);
  text[0] = 'x';
  EXPECT_STREQ(name, "some_op");
  EXPECT_EQ(name, permanent_name("some_op"));
  EXPECT_NE(name, permanent_name("xome_op"));
}

void step() {
  const OpScope scope("step", ScopeKind::Phase);
  const OpScope sum("outer_op");
  { const OpScope first("inner_op"); }
  { const OpScope second("inner_op"); }
}

std::vector<std::string> names_of(const Trace& trace) {
  std::vector<std::string> names;
  for (const TraceScope& scope : trace.scopes) names.emplace_back(scope.name);
  return names;
}

TEST(Profiler, RecordsTheStepsOfItsWindowAndNothingElse) {
  Profiler profiler({"step", 2, 3});
  for (int i = 0; i < 5; ++i) step();
  const Trace trace = profiler.take();
  EXPECT_EQ(trace.steps, 2);
  EXPECT_THAT(names_of(trace), ElementsAre("inner_op", "inner_op", "outer_op", "step", "inner_op",
                                           "inner_op", "outer_op", "step"));
  EXPECT_TRUE(trace.activities.empty());
}

TEST(Profiler, OwnTimeIsTheTimeWithoutWhatIsInside) {
  Profiler profiler({"step"});
  step();
  const Trace trace = profiler.take();
  ASSERT_EQ(trace.scopes.size(), 4);
  const auto lasted = [&](size_t i) { return trace.scopes[i].end_ns - trace.scopes[i].begin_ns; };
  EXPECT_EQ(trace.scopes[0].own_ns, lasted(0));
  EXPECT_EQ(trace.scopes[2].own_ns, lasted(2) - lasted(0) - lasted(1));
  EXPECT_EQ(trace.scopes[3].own_ns, lasted(3) - lasted(2));
}

TEST(Profiler, TellsThreadsAndScopesOfOneNameApart) {
  Profiler profiler({"step"});
  {
    const OpScope step("step", ScopeKind::Phase);
    std::thread([] { const OpScope beside("beside"); }).join();
    const OpScope outer("add");
    const OpScope inner("add");
  }
  const Trace trace = profiler.take();
  ASSERT_THAT(names_of(trace), ElementsAre("add", "add", "step", "beside"));
  EXPECT_TRUE(trace.scopes[0].nested);
  EXPECT_FALSE(trace.scopes[1].nested);
  EXPECT_EQ(trace.scopes[2].thread, 0);
  EXPECT_EQ(trace.scopes[3].thread, 1);
}

TEST(Profiler, AStepThatNeverComesLeavesAnEmptyTrace) {
  Profiler profiler({"step", 7, 9});
  step();
  EXPECT_EQ(profiler.take().steps, 0);
}

TEST(Profiler, RefusesAWindowThatIsNone) {
  EXPECT_THROW(Profiler({"step", 0, 1}), Error);
  EXPECT_THROW(Profiler({"step", 3, 2}), Error);
}

TEST(Profiler, ScopesThatBeganBeforeItAreLeftOut) {
  auto before = std::make_unique<OpScope>("before");
  Profiler profiler({"step"});
  before.reset();
  step();
  EXPECT_EQ(profiler.take().scopes.size(), 4);
}

// ---- what is written ----

std::vector<Json> events(const Json& trace, const std::string& phase) {
  std::vector<Json> found;
  for (const Json& event : trace["traceEvents"])
    if (event["ph"] == phase) found.push_back(event);
  return found;
}

TEST(ChromeJson, ScopesOfAThreadAreNestedAndCarryTheirShapes) {
  Profiler profiler({"step", 1, 3});
  const Tensor x = randn({2, 8});
  for (int i = 0; i < 3; ++i) {
    const OpScope scope("step", ScopeKind::Phase);
    rms_norm(mean(x, {0}, true), ones({8}));
  }
  const Json trace = Json::parse(to_chrome_json(profiler.take()));
  std::vector<Json> slices = events(trace, "X");
  std::ranges::stable_sort(slices, {}, [](const Json& e) { return -e["dur"].get<double>(); });
  std::ranges::stable_sort(slices, {}, [](const Json& e) { return e["ts"].get<double>(); });
  std::vector<double> ends;
  int shapes = 0;
  for (const Json& slice : slices) {
    const double begin = slice["ts"], end = begin + slice["dur"].get<double>();
    constexpr double kRounding = 1e-6;
    while (!ends.empty() && ends.back() <= begin + kRounding) ends.pop_back();
    if (!ends.empty()) {
      EXPECT_LE(end, ends.back() + kRounding) << slice;
    }
    ends.push_back(end);
    EXPECT_EQ(slice["pid"], 1);
    EXPECT_EQ(slice["tid"], 0);
    if (slice["name"] != "rms_norm") continue;
    EXPECT_EQ(slice["args"]["inputs"], "[1, 8] [8]");
    ++shapes;
  }
  EXPECT_EQ(shapes, 3);
}

Trace with_a_gpu() {
  Trace trace;
  trace.begin_ns = 1000;
  trace.steps = 1;
  TraceScope outer{.name = "outer", .id = 1, .begin_ns = 2000, .end_ns = 12000, .own_ns = 4000};
  TraceScope inner{.name = "gemm", .id = 2, .begin_ns = 3000, .end_ns = 9000, .own_ns = 6000};
  trace.scopes = {inner, outer};
  cuda::Activity kernel;
  kernel.name = "gemm_kernel";
  kernel.begin_ns = 10000;
  kernel.end_ns = 2'010'000;
  kernel.scope = 2;
  kernel.stream = 7;
  kernel.grid = {4, 2, 1};
  kernel.block = {128, 1, 1};
  kernel.shared_bytes = 1024;
  kernel.registers = 40;
  cuda::Activity copy;
  copy.kind = cuda::ActivityKind::Copy;
  copy.name = "copy";
  copy.begin_ns = 20000;
  copy.end_ns = 1'020'000;
  copy.bytes = 64;
  trace.activities = {kernel, copy};
  return trace;
}

TEST(ChromeJson, AnArrowLeadsFromAScopeToItsKernel) {
  const Json trace = Json::parse(to_chrome_json(with_a_gpu()));
  const Json kernel = events(trace, "X")[2], copy = events(trace, "X")[3];
  EXPECT_EQ(kernel["name"], "gemm_kernel");
  EXPECT_EQ(kernel["ts"], 9);
  EXPECT_EQ(kernel["dur"], 2000);
  EXPECT_EQ(kernel["args"]["grid"], Json({4, 2, 1}));
  EXPECT_EQ(kernel["args"]["registers"], 40);
  EXPECT_EQ(copy["args"]["bytes"], 64);
  ASSERT_EQ(events(trace, "s").size(), 1);  // none from the copy, which no scope asked for
  const Json from = events(trace, "s")[0], to = events(trace, "f")[0];
  EXPECT_EQ(from["id"], to["id"]);
  EXPECT_EQ(from["ts"], 2);
  EXPECT_EQ(from["pid"], 1);
  EXPECT_EQ(to["ts"], kernel["ts"]);
  EXPECT_EQ(to["pid"], kernel["pid"]);
  EXPECT_EQ(to["tid"], 7);
  std::vector<std::string> names;
  for (const Json& name : events(trace, "M")) names.push_back(name["args"]["name"]);
  EXPECT_THAT(names, testing::IsSupersetOf({"plinth", "main thread", "cuda:0", "stream 7"}));
}

TEST(ProfileTable, SaysCallsTotalOwnAndGpuTime) {
  const std::string table = to_table(with_a_gpu());
  EXPECT_THAT(table,
              testing::ContainsRegex("gemm +1 +0\\.006 +0\\.006 +60\\.0% +0\\.0060 +2\\.000"));
  EXPECT_THAT(table,
              testing::ContainsRegex("outer +1 +0\\.010 +0\\.004 +40\\.0% +0\\.0100 +0\\.000"));
  EXPECT_THAT(table, testing::ContainsRegex("gemm_kernel +1 +2\\.000 +66\\.7% +2\\.0000"));
  EXPECT_LT(table.find("gemm "), table.find("outer "));
}

TEST(ProfileTable, ShowsTheLinesThatMatterMost) {
  Trace trace;
  for (int i = 0; i < 30; ++i)
    trace.scopes.push_back({.name = permanent_name("op_" + std::to_string(i)), .own_ns = i});
  const std::string table = to_table(trace, 2);
  EXPECT_EQ(std::ranges::count(table, '\n'), 3);
  EXPECT_THAT(table, HasSubstr("op_29 "));
  EXPECT_THAT(table, HasSubstr("op_28 "));
}

}  // namespace
}  // namespace plinth
