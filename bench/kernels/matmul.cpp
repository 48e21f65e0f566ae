#include "kernels/matmul/matmul.h"

#include "bench/kernels/compute_bench.h"

namespace plinth::kernels {
namespace {

// Whether an operand is stored transposed: a linear layer's forward pass multiplies by w^T (NT),
// its gradients are NN (of x) and TN (of w).
enum Transposed { kNN, kNT, kTN };

template <class T, Transposed Kind>
void matmul(benchmark::State& state) {
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  const auto a = normal_values<T>(m * k), b = normal_values<T>(k * n);
  std::vector<T> c(m * n);
  cpu::MatmulDesc desc;
  desc.m = m;
  desc.n = n;
  desc.k = k;
  desc.a = Kind == kTN ? std::array<int64_t, 3>{0, 1, m} : std::array<int64_t, 3>{0, k, 1};
  desc.b = Kind == kNT ? std::array<int64_t, 3>{0, 1, k} : std::array<int64_t, 3>{0, n, 1};
  desc.c = {0, n, 1};
  for (auto _ : state) cpu::matmul<T>(desc, a.data(), b.data(), c.data());
  set_operations(state, 2.0 * m * n * k);
}

void product_shapes(benchmark::internal::Benchmark* row) {
  row->ArgNames({"m", "n", "k"})->UseRealTime()->Unit(benchmark::kMillisecond);
  row->Args({2048, 256, 256})->Args({2048, 1024, 256})->Args({2048, 256, 1024});
  row->Args({1024, 768, 3072})->Args({1024, 1024, 1024});
}

void weight_gradient_shapes(benchmark::internal::Benchmark* row) {
  row->ArgNames({"m", "n", "k"})->UseRealTime()->Unit(benchmark::kMillisecond);
  row->Args({256, 256, 2048})->Args({1024, 256, 2048})->Args({768, 3072, 1024});
}

// One token through a linear layer, and a small batch of them.
void few_row_shapes(benchmark::internal::Benchmark* row) {
  row->ArgNames({"m", "n", "k"})->UseRealTime()->Unit(benchmark::kMicrosecond);
  row->Args({1, 1024, 1024})->Args({8, 1024, 1024});
}

BENCHMARK(matmul<float, kNN>)->Apply(product_shapes);
BENCHMARK(matmul<float, kNT>)->Apply(product_shapes)->Apply(few_row_shapes);
BENCHMARK(matmul<float, kTN>)->Apply(weight_gradient_shapes);
BENCHMARK(matmul<BFloat16, kNN>)->Apply(product_shapes);
BENCHMARK(matmul<BFloat16, kNT>)->Apply(product_shapes)->Apply(few_row_shapes);
BENCHMARK(matmul<BFloat16, kTN>)->Apply(weight_gradient_shapes);
BENCHMARK(matmul<Float16, kNT>)->ArgNames({"m", "n", "k"})->Args({1024, 1024, 1024})->UseRealTime();
BENCHMARK(matmul<double, kNT>)->ArgNames({"m", "n", "k"})->Args({1024, 1024, 1024})->UseRealTime();

}  // namespace
}  // namespace plinth::kernels
