#include "kernels/layer_norm/layer_norm.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

// N: the type of y, dy and the branch.
template <class T, class N = T>
void layer_norm_forward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto x = sample_values<T>(n), weight = sample_values<T>(cols),
             bias = sample_values<T>(cols);
  std::vector<N> y(n);
  std::vector<compute_t<T>> mean(rows), rstd(rows);
  for (auto _ : state) {
    cpu::layer_norm_forward<T>(rows, cols, x.data(), weight.data(), bias.data(), 1e-5f, y.data(),
                               mean.data(), rstd.data());
  }
  set_bytes(state, n * (sizeof(T) + sizeof(N)));
}

template <class T, class N = T>
void add_layer_norm_forward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto x = sample_values<N>(n);
  const auto residual = sample_values<T>(n), weight = sample_values<T>(cols),
             bias = sample_values<T>(cols);
  std::vector<T> sum(n);
  std::vector<N> y(n);
  std::vector<compute_t<T>> mean(rows), rstd(rows);
  for (auto _ : state) {
    cpu::add_layer_norm_forward<T>(rows, cols, x.data(), residual.data(), weight.data(),
                                   bias.data(), 1e-5f, sum.data(), y.data(), mean.data(),
                                   rstd.data());
  }
  set_bytes(state, 2 * n * (sizeof(T) + sizeof(N)));
}

template <class T, class N = T>
void layer_norm_backward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto x = sample_values<T>(n), weight = sample_values<T>(cols);
  const auto dy = sample_values<N>(n);
  std::vector<T> dx(n), dweight(cols), dbias(cols);
  const std::vector<compute_t<T>> mean(rows, 0), rstd(rows, 1);
  for (auto _ : state) {
    cpu::layer_norm_backward<T>(rows, cols, dy.data(), x.data(), weight.data(), mean.data(),
                                rstd.data(), dx.data(), dweight.data(), dbias.data());
  }
  set_bytes(state, n * (2 * sizeof(T) + sizeof(N)));
}

BENCHMARK(layer_norm_forward<float>)->Apply(matrix_shapes);
BENCHMARK(layer_norm_forward<BFloat16>)->Apply(matrix_shapes);
BENCHMARK(layer_norm_forward<float, BFloat16>)->Apply(matrix_shapes);
BENCHMARK(add_layer_norm_forward<float>)->Apply(matrix_shapes);
BENCHMARK(add_layer_norm_forward<float, BFloat16>)->Apply(matrix_shapes);
BENCHMARK(layer_norm_backward<float>)->Apply(matrix_shapes);
BENCHMARK(layer_norm_backward<BFloat16>)->Apply(matrix_shapes);
BENCHMARK(layer_norm_backward<float, BFloat16>)->Apply(matrix_shapes);

}  // namespace
}  // namespace plinth::kernels
