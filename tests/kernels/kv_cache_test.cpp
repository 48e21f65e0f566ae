#include "kernels/kv_cache/kv_cache.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
class KVCacheKernel : public ::testing::Test {};
TYPED_TEST_SUITE(KVCacheKernel, FloatTypes);

// keys lie as [batch, tokens, heads, dim], values as [batch, heads, tokens, dim].
TYPED_TEST(KVCacheKernel, WritesNewTokensAndNothingElse) {
  const KVCacheDesc d{.batch = 2,
                      .heads = 3,
                      .capacity = 7,
                      .tokens = 2,
                      .head_dim = 5,
                      .position = 4,
                      .keys = {.batch = 30, .head = 5, .token = 15},
                      .values = {.batch = 30, .head = 10, .token = 5}};
  const auto keys = random_values<TypeParam>(60, 1), values = random_values<TypeParam>(60, 2);
  const auto before = random_values<TypeParam>(210, 3);
  auto key_cache = before, value_cache = before;
  kv_cache_append(d, sizeof(TypeParam), keys.data(), values.data(), key_cache.data(),
                  value_cache.data());
  for (int64_t i = 0; i < 210; ++i) {
    const int64_t e = i % 5, at = i / 5 % 7, h = i / 35 % 3, b = i / 105, t = at - 4;
    const bool is_new = t >= 0 && t < 2;
    EXPECT_EQ(as_double(key_cache[i]),
              as_double(is_new ? keys[b * 30 + t * 15 + h * 5 + e] : before[i]));
    EXPECT_EQ(as_double(value_cache[i]),
              as_double(is_new ? values[b * 30 + h * 10 + t * 5 + e] : before[i]));
  }
}

TEST(KVCacheCapacity, LeavesOutTokensBeyondTheCapacity) {
  const KVCacheDesc d{.capacity = 2,
                      .tokens = 3,
                      .head_dim = 1,
                      .position = 1,
                      .keys = {.token = 1},
                      .values = {.token = 1}};
  const std::vector<float> keys = {1, 2, 3}, values = {4, 5, 6};
  std::vector<float> key_cache(2), value_cache(2);
  kv_cache_append(d, sizeof(float), keys.data(), values.data(), key_cache.data(),
                  value_cache.data());
  EXPECT_EQ(key_cache, (std::vector<float>{0, 1}));
  EXPECT_EQ(value_cache, (std::vector<float>{0, 4}));
}

}  // namespace
}  // namespace plinth::kernels::cpu
