#include "kernels/column_sum/column_sum.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
void column_sum(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const auto x = sample_values<T>(rows * cols);
  std::vector<T> out(cols);
  for (auto _ : state) cpu::column_sum<T>(rows, cols, x.data(), out.data());
  set_bytes(state, rows * cols * sizeof(T));
}

BENCHMARK(column_sum<float>)->Apply(matrix_shapes);
BENCHMARK(column_sum<BFloat16>)->Apply(matrix_shapes);

}  // namespace
}  // namespace plinth::kernels
