#include "kernels/float8/float8.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
void float8_amax(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const auto x = sample_values<T>(rows * cols);
  std::vector<float> amaxes(float8_tiles(rows, cols));
  for (auto _ : state) cpu::float8_amax(rows, cols, x.data(), amaxes.data());
  set_bytes(state, rows * cols * sizeof(T));
}

template <class T>
void float8_quantise(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const auto x = sample_values<T>(rows * cols);
  std::vector<Float8_e4m3> q(rows * cols);
  const float scale[2] = {200, 1.0f / 200};
  for (auto _ : state) {
    cpu::float8_quantise(rows, rows, cols, x.data(), scale, q.data(),
                         static_cast<Float8_e4m3*>(nullptr), static_cast<float*>(nullptr));
  }
  set_bytes(state, rows * cols * (sizeof(T) + 1));
}

BENCHMARK(float8_amax<BFloat16>)->Apply(matrix_shapes);
BENCHMARK(float8_quantise<BFloat16>)->Apply(matrix_shapes);
BENCHMARK(float8_quantise<float>)->Apply(matrix_shapes);

}  // namespace
}  // namespace plinth::kernels
