// What a scope costs: every op opens one, whether or not anybody listens.

#include "core/op_scope.h"

#include <benchmark/benchmark.h>

#include "core/profile/profiler.h"

namespace plinth {
namespace {

void scope_without_listener(benchmark::State& state) {
  for (auto _ : state) {
    const OpScope scope("op");
    benchmark::ClobberMemory();
  }
}

void scope_outside_a_window(benchmark::State& state) {
  Profiler profiler({"step"});
  for (auto _ : state) const OpScope scope("op");
}

// A step of a thousand ops, since a trace grows with what it holds.
void scope_recorded(benchmark::State& state) {
  constexpr int kOps = 1000;
  for (auto _ : state) {
    Profiler profiler({"step"});
    {
      const OpScope step("step", ScopeKind::Phase);
      for (int i = 0; i < kOps; ++i) const OpScope scope("op");
    }
    benchmark::DoNotOptimize(profiler.take());
  }
  state.SetItemsProcessed(state.iterations() * kOps);
}

BENCHMARK(scope_without_listener);
BENCHMARK(scope_outside_a_window);
BENCHMARK(scope_recorded);

}  // namespace
}  // namespace plinth
