#include "kernels/kv_cache/paged_kv_cache_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

// Keys lie as [batch, tokens, heads, dim], as they come from a projection; values as [batch, heads,
// tokens, dim]. The tokens of sequence 1 begin before 0, those of sequence 2 lead outside the pages
// and beyond the table.
template <class T>
void expect_pages_as_on_cpu(int64_t head_dim, int64_t shift) {
  SCOPED_TRACE(testing::Message() << head_dim << " shift " << shift);
  constexpr int64_t kBatch = 3, kHeads = 2, kTokens = 4, kPages = 6, kPageSize = 3, kColumns = 3;
  Buffer<int64_t> table(kBatch * kColumns), lengths(kBatch);
  table.copy_from({4, 0, 5, 1, -9, -9, 2, 6, 3});
  lengths.copy_from({7, 2, 10});
  const PagedKVCacheDesc d{.batch = kBatch,
                           .heads = kHeads,
                           .tokens = kTokens,
                           .head_dim = head_dim,
                           .pages = kPages,
                           .page_size = kPageSize,
                           .max_pages = kColumns,
                           .keys = {kTokens * kHeads * head_dim, head_dim, kHeads * head_dim},
                           .values = {kTokens * kHeads * head_dim, kTokens * head_dim, head_dim},
                           .block_table = table.data(),
                           .lengths = lengths.data()};
  const int64_t count = kBatch * kHeads * kTokens * head_dim;
  const int64_t room = kPages * kPageSize * kHeads * head_dim;
  Buffer<T> keys(count, shift), values(count, shift);
  Buffer<T> here_k(room), here_v(room), there_k(room), there_v(room);
  uint64_t seed = 0;
  for (auto* buffer : {&keys, &values}) buffer->fill_random(++seed);
  for (auto* buffer : {&here_k, &there_k}) buffer->fill_random(10);
  for (auto* buffer : {&here_v, &there_v}) buffer->fill_random(11);
  cpu::paged_kv_cache_append(d, sizeof(T), keys.data(), values.data(), here_k.data(),
                             here_v.data());
  paged_kv_cache_append(nullptr, d, sizeof(T), keys.data(), values.data(), there_k.data(),
                        there_v.data());
  EXPECT_EQ(there_k.values(), here_k.values());
  EXPECT_EQ(there_v.values(), here_v.values());
}

TEST(PagedKVCacheKernel, WritesWhatTheCpuDoes) {
  for (const int64_t head_dim : {1, 6, 16}) {
    for (const int64_t shift : {0, 1}) {
      expect_pages_as_on_cpu<float>(head_dim, shift);
      expect_pages_as_on_cpu<BFloat16>(head_dim, shift);
    }
  }
}

TEST(PagedKVCacheKernel, TakesNoTokens) {
  paged_kv_cache_append(nullptr, {.tokens = 0, .head_dim = 4}, 4, nullptr, nullptr, nullptr,
                        nullptr);
}

}  // namespace
}  // namespace plinth::kernels::cuda
