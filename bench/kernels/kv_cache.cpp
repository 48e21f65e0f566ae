#include "kernels/kv_cache/kv_cache.h"

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

// The keys and values of `tokens` new tokens of 8 sequences with 8 heads of 128, as a projection
// leaves them: [batch, tokens, heads, head_dim].
template <class T>
void kv_cache_append(benchmark::State& state) {
  constexpr int64_t kBatch = 8, kHeads = 8, kDim = 128, kCapacity = 2048;
  const int64_t tokens = state.range(0), n = kBatch * tokens * kHeads * kDim;
  const auto keys = sample_values<T>(n), values = sample_values<T>(n);
  std::vector<T> key_cache(kBatch * kHeads * kCapacity * kDim), value_cache = key_cache;
  const cpu::KVCacheDesc::Strides strides{tokens * kHeads * kDim, kDim, kHeads * kDim};
  cpu::KVCacheDesc desc{.batch = kBatch,
                        .heads = kHeads,
                        .capacity = kCapacity,
                        .tokens = tokens,
                        .head_dim = kDim,
                        .keys = strides,
                        .values = strides};
  for (auto _ : state) {
    desc.position = (desc.position + tokens) % (kCapacity - tokens);
    cpu::kv_cache_append(desc, sizeof(T), keys.data(), values.data(), key_cache.data(),
                         value_cache.data());
  }
  set_bytes(state, 4 * n * static_cast<int64_t>(sizeof(T)));
}

void new_token_counts(benchmark::internal::Benchmark* row) {
  row->ArgNames({"tokens"})->Args({1})->Args({512});
  row->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(kv_cache_append<float>)->Apply(new_token_counts);
BENCHMARK(kv_cache_append<BFloat16>)->Apply(new_token_counts);

}  // namespace
}  // namespace plinth::kernels
