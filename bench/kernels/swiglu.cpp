#include "kernels/swiglu/swiglu.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
void swiglu_forward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto both = sample_values<T>(2 * n);
  std::vector<T> y(n);
  for (auto _ : state) {
    cpu::swiglu_forward<T>(rows, cols, both.data(), 2 * cols, both.data() + cols, 2 * cols,
                           y.data());
  }
  set_bytes(state, 3 * n * sizeof(T));
}

template <class T>
void swiglu_backward(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1), n = rows * cols;
  const auto both = sample_values<T>(2 * n), dy = sample_values<T>(n);
  std::vector<T> dboth(2 * n);
  for (auto _ : state) {
    cpu::swiglu_backward<T>(rows, cols, dy.data(), both.data(), 2 * cols, both.data() + cols,
                            2 * cols, dboth.data(), 2 * cols, dboth.data() + cols, 2 * cols);
  }
  set_bytes(state, 5 * n * sizeof(T));
}

BENCHMARK(swiglu_forward<float>)->Apply(matrix_shapes);
BENCHMARK(swiglu_forward<BFloat16>)->Apply(matrix_shapes);
BENCHMARK(swiglu_backward<float>)->Apply(matrix_shapes);
BENCHMARK(swiglu_backward<BFloat16>)->Apply(matrix_shapes);

}  // namespace
}  // namespace plinth::kernels
