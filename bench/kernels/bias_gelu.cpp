#include "kernels/bias_gelu/bias_gelu.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
void bias_gelu_tanh_forward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto x = sample_values<T>(n), bias = sample_values<T>(cols);
  std::vector<T> y(n);
  for (auto _ : state) {
    cpu::bias_gelu_tanh_forward<T>(rows, cols, x.data(), bias.data(), y.data());
  }
  set_bytes(state, 2 * n * sizeof(T));
}

template <class T>
void bias_gelu_tanh_backward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto x = sample_values<T>(n), dy = sample_values<T>(n), bias = sample_values<T>(cols);
  std::vector<T> dx(n), dbias(cols);
  for (auto _ : state) {
    cpu::bias_gelu_tanh_backward<T>(rows, cols, dy.data(), x.data(), bias.data(), dx.data(),
                                    dbias.data());
  }
  set_bytes(state, 3 * n * sizeof(T));
}

BENCHMARK(bias_gelu_tanh_forward<float>)->Apply(matrix_shapes);
BENCHMARK(bias_gelu_tanh_forward<BFloat16>)->Apply(matrix_shapes);
BENCHMARK(bias_gelu_tanh_backward<float>)->Apply(matrix_shapes);
BENCHMARK(bias_gelu_tanh_backward<BFloat16>)->Apply(matrix_shapes);

}  // namespace
}  // namespace plinth::kernels
