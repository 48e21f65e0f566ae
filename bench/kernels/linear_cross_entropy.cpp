#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include "bench/kernels/compute_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
void linear_cross_entropy(benchmark::State& state) {
  cpu::LinearCrossEntropyDesc desc;
  desc.rows = state.range(0);
  desc.dim = state.range(1);
  desc.vocab = state.range(2);
  const bool gradients = state.range(3) != 0;
  const auto x = normal_values<T>(desc.rows * desc.dim);
  const auto w = normal_values<T>(desc.vocab * desc.dim);
  std::vector<int64_t> target(desc.rows);
  for (int64_t r = 0; r < desc.rows; ++r) target[r] = r * 7919 % desc.vocab;
  std::vector<T> dx(desc.rows * desc.dim);
  std::vector<compute_t<T>> loss(desc.rows), dw(desc.vocab * desc.dim);
  for (auto _ : state) {
    cpu::linear_cross_entropy<T>(desc, x.data(), w.data(), target.data(), loss.data(),
                                 gradients ? dx.data() : nullptr, gradients ? dw.data() : nullptr,
                                 1);
  }
  set_operations(state, (gradients ? 6.0 : 2.0) * desc.rows * desc.dim * desc.vocab);
}

void projection_shapes(benchmark::internal::Benchmark* row) {
  row->ArgNames({"rows", "dim", "vocab", "gradients"})
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
  row->Args({2048, 256, 256, 1})->Args({2048, 256, 8192, 1});
  row->Args({1024, 768, 50304, 0})->Args({1024, 768, 50304, 1});
}

BENCHMARK(linear_cross_entropy<float>)->Apply(projection_shapes);
BENCHMARK(linear_cross_entropy<BFloat16>)->Apply(projection_shapes);

}  // namespace
}  // namespace plinth::kernels
