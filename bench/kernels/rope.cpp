#include "kernels/rope/rope.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

template <class T>
void rope(benchmark::State& state) {
  const int64_t batch = 2, seq = 1024, heads = 12, dim = 64, n = batch * seq * heads * dim;
  const cpu::RopeStrides strides{seq * heads * dim, heads * dim, dim};
  const cpu::RopeDesc desc{.batch = batch,
                           .seq = seq,
                           .heads = heads,
                           .head_dim = dim,
                           .rotary_dim = dim,
                           .in = strides,
                           .out = strides,
                           .interleaved = state.range(0) != 0};
  const auto x = sample_values<T>(n);
  std::vector<T> y(n);
  std::vector<compute_t<T>> cos(seq * dim / 2), sin(cos.size());
  cpu::rope_table(seq, dim, 10000, {}, cos.data(), sin.data());
  for (auto _ : state) cpu::rope<T>(desc, x.data(), cos.data(), sin.data(), nullptr, y.data());
  set_bytes(state, 2 * n * sizeof(T));
}

void conventions(benchmark::internal::Benchmark* row) {
  row->ArgName("interleaved")->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(rope<float>)->Apply(conventions);
BENCHMARK(rope<BFloat16>)->Apply(conventions);

}  // namespace
}  // namespace plinth::kernels
