#include "kernels/softmax/softmax.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
void forward(benchmark::State& state, void (*kernel)(int64_t, int64_t, const T*, T*)) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto x = sample_values<T>(n);
  std::vector<T> y(n);
  for (auto _ : state) kernel(rows, cols, x.data(), y.data());
  set_bytes(state, 2 * n * sizeof(T));
}

template <class T>
void backward(benchmark::State& state, void (*kernel)(int64_t, int64_t, const T*, const T*, T*)) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto dy = sample_values<T>(n), y = sample_values<T>(n);
  std::vector<T> dx(n);
  for (auto _ : state) kernel(rows, cols, dy.data(), y.data(), dx.data());
  set_bytes(state, 3 * n * sizeof(T));
}

BENCHMARK_CAPTURE(forward, softmax_float, cpu::softmax_forward<float>)->Apply(matrix_shapes);
BENCHMARK_CAPTURE(forward, softmax_bfloat16, cpu::softmax_forward<BFloat16>)->Apply(matrix_shapes);
BENCHMARK_CAPTURE(forward, log_softmax_float, cpu::log_softmax_forward<float>)
    ->Apply(matrix_shapes);
BENCHMARK_CAPTURE(backward, softmax_float, cpu::softmax_backward<float>)->Apply(matrix_shapes);
BENCHMARK_CAPTURE(backward, log_softmax_float, cpu::log_softmax_backward<float>)
    ->Apply(matrix_shapes);

}  // namespace
}  // namespace plinth::kernels
