#include "kernels/attention/paged_attention.h"

#include <cmath>
#include <numeric>

#include "bench/kernels/fused_bench.h"

namespace plinth::kernels {
namespace {

// One query of each of 8 sequences of `keys` tokens, in 32 heads of 128 that share 8: a step of
// generation. The bytes are those of keys and values.
template <class T>
void paged_attention(benchmark::State& state) {
  constexpr int64_t kBatch = 8, kHeads = 32, kKvHeads = 8, kDim = 128, kPageSize = 16;
  const int64_t columns = state.range(0) / kPageSize, pages = kBatch * columns;
  const int64_t cached = pages * kPageSize * kKvHeads * kDim;
  const auto q = sample_values<T>(kBatch * kHeads * kDim);
  const auto k = sample_values<T>(cached), v = sample_values<T>(cached);
  std::vector<int32_t> table(pages);
  std::iota(table.rbegin(), table.rend(), 0);
  const std::vector<int64_t> lengths(kBatch, columns * kPageSize);
  std::vector<T> out(q.size());
  std::vector<compute_t<T>> lse(kBatch * kHeads);
  cpu::PagedAttentionDesc desc;
  desc.block_table = table.data(), desc.table_stride = columns;
  desc.page_size = kPageSize, desc.pages = pages;
  cpu::AttentionDesc& d = desc.attention;
  d.batch = kBatch, d.heads = kHeads, d.kv_heads = kKvHeads;
  d.q_len = 1, d.kv_len = columns * kPageSize, d.head_dim = kDim;
  d.q = d.out = {kHeads * kDim, kDim, kDim};
  d.k = d.v = {kPageSize * kKvHeads * kDim, kDim, kKvHeads * kDim};
  d.scale = 1 / std::sqrt(static_cast<double>(kDim));
  d.kv_lengths = lengths.data();
  for (auto _ : state)
    cpu::paged_attention_forward<T>(desc, q.data(), k.data(), v.data(), out.data(), lse.data());
  set_bytes(state, 2 * cached * static_cast<int64_t>(sizeof(T)));
}

void cached_key_counts(benchmark::internal::Benchmark* row) {
  row->ArgNames({"keys"})->Args({512})->Args({4096});
  row->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(paged_attention<float>)->Apply(cached_key_counts);
BENCHMARK(paged_attention<BFloat16>)->Apply(cached_key_counts);

}  // namespace
}  // namespace plinth::kernels
