#include "kernels/kv_cache/kv_cache_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

// Keys lie as [batch, tokens, heads, dim], as they come from a projection; values as the cache
// does.
KVCacheDesc desc(int64_t tokens, int64_t head_dim, int64_t position) {
  const int64_t heads = 3;
  return {.batch = 2,
          .heads = heads,
          .capacity = 9,
          .tokens = tokens,
          .head_dim = head_dim,
          .position = position,
          .keys = {tokens * heads * head_dim, head_dim, heads * head_dim},
          .values = {tokens * heads * head_dim, tokens * head_dim, head_dim}};
}

template <class T>
struct Caches {
  Buffer<T> keys, values;
  explicit Caches(const KVCacheDesc& d)
      : keys(d.batch * d.heads * d.capacity * d.head_dim),
        values(d.batch * d.heads * d.capacity * d.head_dim) {
    keys.fill_random(3);
    values.fill_random(4);
  }
};

template <class T>
void expect_appended_as_on_cpu(const KVCacheDesc& d, int64_t shift = 0) {
  SCOPED_TRACE(testing::Message() << d.tokens << " tokens of " << d.head_dim << " at " << d.position
                                  << " shift " << shift);
  const int64_t n = d.batch * d.heads * d.tokens * d.head_dim;
  Buffer<T> keys(n, shift), values(n, shift);
  keys.fill_random(1);
  values.fill_random(2);
  Caches<T> here(d), there(d), replayed(d);
  cpu::kv_cache_append(d, sizeof(T), keys.data(), values.data(), here.keys.data(),
                       here.values.data());
  kv_cache_append(nullptr, d, sizeof(T), keys.data(), values.data(), there.keys.data(),
                  there.values.data());
  EXPECT_EQ(there.keys.values(), here.keys.values());
  EXPECT_EQ(there.values.values(), here.values.values());
  const OnDevice<int64_t> position{d.position};
  KVCacheDesc captured = d;
  captured.position = 0;
  kv_cache_append(nullptr, captured, sizeof(T), keys.data(), values.data(), replayed.keys.data(),
                  replayed.values.data(), &position.value);
  EXPECT_EQ(replayed.keys.values(), here.keys.values());
  EXPECT_EQ(replayed.values.values(), here.values.values());
}

template <class T>
void expect_all_appended() {
  for (const int64_t head_dim : {64, 5, 6}) {
    for (const int64_t tokens : {1, 4}) expect_appended_as_on_cpu<T>(desc(tokens, head_dim, 2));
    expect_appended_as_on_cpu<T>(desc(4, head_dim, 7));   // beyond the capacity
    expect_appended_as_on_cpu<T>(desc(2, head_dim, -1));  // before its start
    expect_appended_as_on_cpu<T>(desc(1, head_dim, 3), 1);
  }
}

TEST(KVCacheKernel, Float32IsAsOnTheCpu) {
  expect_all_appended<float>();
}
TEST(KVCacheKernel, BFloat16IsAsOnTheCpu) {
  expect_all_appended<BFloat16>();
}
TEST(KVCacheKernel, Float16IsAsOnTheCpu) {
  expect_all_appended<Float16>();
}
TEST(KVCacheKernel, Float64IsAsOnTheCpu) {
  expect_all_appended<double>();
}

}  // namespace
}  // namespace plinth::kernels::cuda
