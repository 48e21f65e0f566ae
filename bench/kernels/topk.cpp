#include "kernels/topk/topk.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

// A router's choice of 2 experts, and a sampler's of 50 tokens.
template <class T>
void topk(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), k = state.range(2);
  const auto x = sample_values<T>(rows * cols);
  std::vector<int64_t> out(rows * k);
  for (auto _ : state) cpu::topk<T>(rows, cols, k, x.data(), out.data());
  set_bytes(state, rows * (cols * static_cast<int64_t>(sizeof(T)) + k * 8));
}

void choice_shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({8192, 8, 2})->Args({8192, 64, 8})->Args({1, 50304, 50});
}

BENCHMARK(topk<float>)->Apply(choice_shapes);
BENCHMARK(topk<BFloat16>)->Apply(choice_shapes);

}  // namespace
}  // namespace plinth::kernels
