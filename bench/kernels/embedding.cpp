#include "kernels/embedding/embedding.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

// Ids in which the small ones dominate, as in text.
std::vector<int64_t> ids_of(int64_t n, int64_t vocab) {
  std::vector<int64_t> ids(n);
  for (int64_t i = 0; i < n; ++i) {
    const double u = static_cast<double>(i * 7919 % n) / static_cast<double>(n);
    ids[i] = static_cast<int64_t>(u * u * u * static_cast<double>(vocab));
  }
  return ids;
}

template <class T>
void embedding_forward(benchmark::State& state) {
  const int64_t n = state.range(0), vocab = state.range(1), dim = state.range(2);
  const auto ids = ids_of(n, vocab);
  const auto w = sample_values<T>(vocab * dim);
  std::vector<T> y(n * dim);
  for (auto _ : state) {
    cpu::embedding_forward<T>(n, vocab, dim, ids.data(), w.data(), y.data());
  }
  set_bytes(state, 2 * n * dim * sizeof(T));
}

template <class T>
void embedding_backward(benchmark::State& state) {
  const int64_t n = state.range(0), vocab = state.range(1), dim = state.range(2);
  const auto ids = ids_of(n, vocab);
  const auto dy = sample_values<T>(n * dim);
  std::vector<compute_t<T>> dw(vocab * dim);
  for (auto _ : state) {
    cpu::embedding_backward<T>(n, vocab, dim, ids.data(), dy.data(), dw.data());
  }
  set_bytes(state, n * dim * sizeof(T));
}

void vocabulary_sizes(benchmark::internal::Benchmark* row) {
  row->ArgNames({"n", "vocab", "dim"})->Args({2048, 256, 256})->Args({4096, 50257, 768});
  row->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(embedding_forward<float>)->Apply(vocabulary_sizes);
BENCHMARK(embedding_backward<float>)->Apply(vocabulary_sizes);
BENCHMARK(embedding_backward<BFloat16>)->Apply(vocabulary_sizes);

}  // namespace
}  // namespace plinth::kernels
