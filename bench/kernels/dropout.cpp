#include "kernels/dropout/dropout.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
void dropout_forward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto x = sample_values<T>(n);
  std::vector<T> y(n);
  for (auto _ : state) {
    cpu::dropout_forward<T>(rows, cols, 0.1, {.seed = 1}, x.data(), y.data());
  }
  set_bytes(state, 2 * n * sizeof(T));
}

BENCHMARK(dropout_forward<float>)->Apply(matrix_shapes);
BENCHMARK(dropout_forward<BFloat16>)->Apply(matrix_shapes);

}  // namespace
}  // namespace plinth::kernels
