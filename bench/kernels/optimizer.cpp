#include "kernels/optimizer/optimizer.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class P, class G>
struct OptimizerProblem {
  using C = compute_t<P>;
  std::vector<P> parameter;
  std::vector<G> gradient;
  std::vector<C> exp_avg, exp_avg_sq, master;
  cpu::OptimizerTensor<P, G> tensor;

  OptimizerProblem(int64_t n, bool with_master)
      : parameter(sample_values<P>(n)),
        gradient(sample_values<G>(n)),
        exp_avg(n),
        exp_avg_sq(n),
        master(with_master ? n : 0, 1),
        tensor{n,
               parameter.data(),
               gradient.data(),
               exp_avg.data(),
               exp_avg_sq.data(),
               with_master ? master.data() : nullptr} {}
};

enum class Rounding { Nearest, Master, Stochastic };

template <class P, Rounding rounding>
void adamw(benchmark::State& state) {
  constexpr bool master = rounding == Rounding::Master;
  const int64_t n = state.range(0);
  OptimizerProblem<P, float> p(n, master);
  cpu::AdamWOptions options;
  options.rounding.enabled = rounding == Rounding::Stochastic;
  for (auto _ : state) {
    cpu::adamw_step<P, float>({&p.tensor, 1}, options);
    ++options.step;
  }
  set_bytes(state, n * (2 * sizeof(P) + 4 + (master ? 24 - sizeof(P) : 16)));
}

// The weights and biases of a transformer's layers.
template <class To>
void copy_parameters(benchmark::State& state) {
  constexpr int64_t kPairs = 48, kBias = 768;
  const int64_t n = state.range(0), weight = n / kPairs - kBias;
  const auto parameters = sample_values<float>(n);
  std::vector<To> copies(n);
  std::vector<cpu::ParameterCopy<To>> list;
  for (int64_t i = 0, at = 0; i < 2 * kPairs; ++i) {
    const int64_t size = i % 2 == 0 ? weight : kBias;
    list.push_back({size, parameters.data() + at, copies.data() + at});
    at += size;
  }
  for ([[maybe_unused]] auto _ : state) cpu::copy_parameters<To>(list);
  set_bytes(state, n * (sizeof(float) + sizeof(To)));
}

void sgd_momentum(benchmark::State& state) {
  const int64_t n = state.range(0);
  OptimizerProblem<float, float> p(n, false);
  for ([[maybe_unused]] auto _ : state)
    cpu::sgd_step<float, float>({&p.tensor, 1}, {.momentum = 0.9});
  set_bytes(state, 20 * n);
}

void lion(benchmark::State& state) {
  const int64_t n = state.range(0);
  OptimizerProblem<float, float> p(n, false);
  for ([[maybe_unused]] auto _ : state) cpu::lion_step<float, float>({&p.tensor, 1}, {});
  set_bytes(state, 20 * n);
}

template <class G>
void global_norm(benchmark::State& state) {
  const int64_t n = state.range(0);
  const auto gradient = sample_values<G>(n);
  const std::span<const G> tensor(gradient);
  for (auto _ : state) benchmark::DoNotOptimize(cpu::global_norm<G>({&tensor, 1}));
  set_bytes(state, n * sizeof(G));
}

void all_finite(benchmark::State& state) {
  const int64_t n = state.range(0);
  const auto gradient = sample_values<float>(n);
  const std::span<const float> tensor(gradient);
  for ([[maybe_unused]] auto _ : state)
    benchmark::DoNotOptimize(cpu::all_finite<float>({&tensor, 1}));
  set_bytes(state, n * sizeof(float));
}

void parameter_counts(benchmark::internal::Benchmark* row) {
  row->ArgName("n")->Arg(1 << 24)->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK_TEMPLATE(adamw, float, Rounding::Nearest)->Apply(parameter_counts);
BENCHMARK_TEMPLATE(adamw, BFloat16, Rounding::Master)->Apply(parameter_counts);
BENCHMARK_TEMPLATE(adamw, BFloat16, Rounding::Stochastic)->Apply(parameter_counts);
BENCHMARK(copy_parameters<BFloat16>)->Apply(parameter_counts);
BENCHMARK(sgd_momentum)->Apply(parameter_counts);
BENCHMARK(lion)->Apply(parameter_counts);
BENCHMARK(global_norm<float>)->Apply(parameter_counts);
BENCHMARK(global_norm<BFloat16>)->Apply(parameter_counts);
BENCHMARK(all_finite)->Apply(parameter_counts);

}  // namespace
}  // namespace plinth::kernels
