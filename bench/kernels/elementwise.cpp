#include "kernels/elementwise/elementwise.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <int kOperands>
Loop<kOperands> contiguous(int64_t n) {
  Loop<kOperands> loop;
  loop.dims = 1;
  loop.size[0] = n;
  for (auto& stride : loop.stride) stride[0] = 1;
  return loop;
}

// copy<float, float>: the bandwidth that the other rows are to be read against.
template <class From, class To>
void copy(benchmark::State& state) {
  const int64_t n = state.range(0);
  const auto x = sample_values<From>(n);
  std::vector<To> out(n);
  for (auto _ : state) cpu::copy(contiguous<2>(n), x.data(), out.data());
  set_bytes(state, n * (sizeof(From) + sizeof(To)));
}

// The transpose of a matrix, in row-major order.
void turn(benchmark::State& state) {
  const int64_t rows = state.range(0), columns = state.range(1);
  Loop<2> loop;
  loop.dims = 2;
  loop.size = {columns, rows};
  loop.stride[0] = {rows, 1};
  loop.stride[1] = {1, columns};
  const auto x = sample_values<float>(rows * columns);
  std::vector<float> out(rows * columns);
  for (auto _ : state) cpu::copy(loop, x.data(), out.data());
  set_bytes(state, 2 * rows * columns * sizeof(float));
}

template <class T>
void exp(benchmark::State& state) {
  const int64_t n = state.range(0);
  const auto x = sample_values<T>(n);
  std::vector<T> out(n);
  for (auto _ : state) cpu::unary(UnaryOp::Exp, contiguous<2>(n), x.data(), out.data());
  set_bytes(state, 2 * n * sizeof(T));
}

template <class T>
void add(benchmark::State& state) {
  const int64_t n = state.range(0);
  const auto x = sample_values<T>(n), y = sample_values<T>(n);
  std::vector<T> out(n);
  for (auto _ : state) cpu::binary(BinaryOp::Add, contiguous<3>(n), x.data(), y.data(), out.data());
  set_bytes(state, 3 * n * sizeof(T));
}

// Of an exponent in tenths.
void power(benchmark::State& state) {
  const int64_t n = state.range(0);
  const auto x = sample_values<float>(n);
  const float exponent = static_cast<float>(state.range(1)) / 10;
  Loop<3> loop = contiguous<3>(n);
  loop.stride[2][0] = 0;
  std::vector<float> out(n);
  for (auto _ : state) cpu::binary(BinaryOp::Pow, loop, x.data(), &exponent, out.data());
  set_bytes(state, 2 * n * sizeof(float));
}

// Each element twice, as repeat_interleave does: rows of two elements.
void repeat(benchmark::State& state) {
  const int64_t n = state.range(0), columns = 32;
  Loop<2> loop;
  loop.dims = 3;
  loop.size = {n / columns, columns, 2};
  loop.stride[0] = {2 * columns, 2, 1};
  loop.stride[1] = {columns, 1, 0};
  const auto x = sample_values<float>(n);
  std::vector<float> out(2 * n);
  for (auto _ : state) cpu::copy(loop, x.data(), out.data());
  set_bytes(state, 3 * n * sizeof(float));
}

void element_counts(benchmark::internal::Benchmark* row) {
  row->ArgName("n")->Arg(1 << 19)->Arg(1 << 21)->Arg(1 << 24);
  row->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(copy<float, float>)->Apply(element_counts);
BENCHMARK(repeat)->Apply(element_counts);
BENCHMARK(power)
    ->ArgNames({"n", "tenths"})
    ->ArgsProduct({{1 << 19}, {5, 20, 30}})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(turn)
    ->ArgNames({"rows", "columns"})
    ->Args({2048, 2048})
    ->Args({1000, 3000})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(copy<float, BFloat16>)->Apply(element_counts);
BENCHMARK(copy<BFloat16, float>)->Apply(element_counts);
BENCHMARK(copy<float, Float16>)->Apply(element_counts);
BENCHMARK(copy<Float16, float>)->Apply(element_counts);
BENCHMARK(copy<float, Float8_e4m3>)->Apply(element_counts);
BENCHMARK(copy<float, double>)->Apply(element_counts);
BENCHMARK(copy<int64_t, float>)->Apply(element_counts);
BENCHMARK(exp<float>)->Apply(element_counts);
BENCHMARK(exp<BFloat16>)->Apply(element_counts);
BENCHMARK(add<float>)->Apply(element_counts);
BENCHMARK(add<BFloat16>)->Apply(element_counts);

}  // namespace
}  // namespace plinth::kernels
