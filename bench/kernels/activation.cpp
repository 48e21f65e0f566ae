#include "kernels/activation/activation.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
void forward(benchmark::State& state, void (*kernel)(int64_t, const T*, T*)) {
  const int64_t n = state.range(0) * state.range(1);
  const auto x = sample_values<T>(n);
  std::vector<T> y(n);
  for (auto _ : state) kernel(n, x.data(), y.data());
  set_bytes(state, 2 * n * sizeof(T));
}

template <class T>
void backward(benchmark::State& state, void (*kernel)(int64_t, const T*, const T*, T*)) {
  const int64_t n = state.range(0) * state.range(1);
  const auto dy = sample_values<T>(n), x = sample_values<T>(n);
  std::vector<T> dx(n);
  for (auto _ : state) kernel(n, dy.data(), x.data(), dx.data());
  set_bytes(state, 3 * n * sizeof(T));
}

#define ROWS(name)                                                                              \
  BENCHMARK_CAPTURE(forward, name##_float, cpu::name##_forward<float>)->Apply(matrix_shapes);   \
  BENCHMARK_CAPTURE(forward, name##_bfloat16, cpu::name##_forward<BFloat16>)                    \
      ->Apply(matrix_shapes);                                                                   \
  BENCHMARK_CAPTURE(backward, name##_float, cpu::name##_backward<float>)->Apply(matrix_shapes); \
  BENCHMARK_CAPTURE(backward, name##_bfloat16, cpu::name##_backward<BFloat16>)->Apply(matrix_shapes)
ROWS(gelu);
ROWS(gelu_tanh);
ROWS(gelu_quick);
ROWS(silu);
ROWS(relu);
#undef ROWS

}  // namespace
}  // namespace plinth::kernels
