#include "kernels/kv_cache/paged_kv_cache.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
class PagedKVCacheKernel : public ::testing::Test {};
TYPED_TEST_SUITE(PagedKVCacheKernel, FloatTypes);

// Two sequences, in pages of 3 tokens: sequence 0 gets tokens 2 and 3, in pages 4 and 0; sequence 1
// gets token 8 in page 2, and a token 9 for which its table has no entry.
TYPED_TEST(PagedKVCacheKernel, WritesNewTokensAndNothingElse) {
  const std::vector<int64_t> table = {4, 0, -1, 1, 3, 2}, lengths = {4, 10};
  constexpr int64_t kDim = 5, kHeads = 2, kPages = 5;
  const PagedKVCacheDesc d{.batch = 2,
                           .heads = kHeads,
                           .tokens = 2,
                           .head_dim = kDim,
                           .pages = kPages,
                           .page_size = 3,
                           .max_pages = 3,
                           .keys = {.batch = 20, .head = 5, .token = 10},
                           .values = {.batch = 20, .head = 10, .token = 5},
                           .block_table = table.data(),
                           .lengths = lengths.data()};
  const auto keys = random_values<TypeParam>(40, 1), values = random_values<TypeParam>(40, 2);
  const auto before = random_values<TypeParam>(kPages * 3 * kHeads * kDim, 3);
  auto key_pages = before, value_pages = before;
  paged_kv_cache_append(d, sizeof(TypeParam), keys.data(), values.data(), key_pages.data(),
                        value_pages.data());
  struct Place {
    int64_t row, sequence, token;
  };
  const Place places[] = {{4 * 3 + 2, 0, 0}, {0 * 3 + 0, 0, 1}, {2 * 3 + 2, 1, 0}};
  auto expected_keys = before, expected_values = before;
  for (const Place& p : places) {
    for (int64_t h = 0; h < kHeads; ++h) {
      for (int64_t e = 0; e < kDim; ++e) {
        const int64_t to = (p.row * kHeads + h) * kDim + e;
        expected_keys[to] = keys[p.sequence * 20 + p.token * 10 + h * 5 + e];
        expected_values[to] = values[p.sequence * 20 + p.token * 5 + h * 10 + e];
      }
    }
  }
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(as_double(key_pages[i]), as_double(expected_keys[i])) << i;
    EXPECT_EQ(as_double(value_pages[i]), as_double(expected_values[i])) << i;
  }
}

}  // namespace
}  // namespace plinth::kernels::cpu
