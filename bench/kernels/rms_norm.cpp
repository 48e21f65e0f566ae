#include "kernels/rms_norm/rms_norm.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

// N: the type of y and dy.
template <class T, class N = T>
void rms_norm_forward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto x = sample_values<T>(n), weight = sample_values<T>(cols);
  std::vector<N> y(n);
  std::vector<compute_t<T>> rstd(rows);
  for (auto _ : state) {
    cpu::rms_norm_forward<T>(rows, cols, x.data(), weight.data(), 1e-5f, y.data(), rstd.data());
  }
  set_bytes(state, n * (sizeof(T) + sizeof(N)));
}

template <class T, class N = T>
void rms_norm_backward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto x = sample_values<T>(n), weight = sample_values<T>(cols);
  const auto dy = sample_values<N>(n);
  std::vector<T> dx(n), dweight(cols);
  const std::vector<compute_t<T>> rstd(rows, 1);
  for (auto _ : state) {
    cpu::rms_norm_backward<T>(rows, cols, dy.data(), x.data(), weight.data(), rstd.data(),
                              dx.data(), dweight.data());
  }
  set_bytes(state, n * (2 * sizeof(T) + sizeof(N)));
}

BENCHMARK(rms_norm_forward<float>)->Apply(matrix_shapes);
BENCHMARK(rms_norm_forward<BFloat16>)->Apply(matrix_shapes);
BENCHMARK(rms_norm_forward<float, BFloat16>)->Apply(matrix_shapes);
BENCHMARK(rms_norm_backward<float>)->Apply(matrix_shapes);
BENCHMARK(rms_norm_backward<BFloat16>)->Apply(matrix_shapes);
BENCHMARK(rms_norm_backward<float, BFloat16>)->Apply(matrix_shapes);

}  // namespace
}  // namespace plinth::kernels
