#include "kernels/cast/cast.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

// copy: float to float, the bandwidth that the other rows are to be read against.
template <class From, class To>
void cast(benchmark::State& state) {
  const int64_t n = state.range(0);
  const auto x = sample_values<From>(n);
  std::vector<To> out(n);
  for (auto _ : state) cpu::cast(n, x.data(), out.data());
  set_bytes(state, n * (sizeof(From) + sizeof(To)));
}

void sizes(benchmark::internal::Benchmark* row) {
  row->ArgName("n")->Arg(1 << 19)->Arg(1 << 21)->Arg(1 << 24);
  row->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(cast<float, float>)->Name("copy")->Apply(sizes);
BENCHMARK(cast<float, BFloat16>)->Apply(sizes);
BENCHMARK(cast<BFloat16, float>)->Apply(sizes);
BENCHMARK(cast<float, Float16>)->Apply(sizes);
BENCHMARK(cast<Float16, float>)->Apply(sizes);
BENCHMARK(cast<float, Float8_e4m3>)->Apply(sizes);
BENCHMARK(cast<float, double>)->Apply(sizes);
BENCHMARK(cast<int64_t, float>)->Apply(sizes);

}  // namespace
}  // namespace plinth::kernels
