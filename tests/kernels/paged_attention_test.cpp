#include "kernels/attention/paged_attention.h"

#include <cmath>

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
class PagedAttentionKernel : public ::testing::Test {};
TYPED_TEST_SUITE(PagedAttentionKernel, FloatTypes);

constexpr int64_t kPages = 9, kPageSize = 3, kColumns = 3, kDim = 5;
const std::vector<int64_t> kCachedLengths = {7, 0, 9};

// Pages hold tokens before heads; entries that no length reaches lead nowhere.
PagedAttentionDesc describe(const std::vector<int32_t>& table) {
  PagedAttentionDesc d;
  AttentionDesc& a = d.attention;
  a.batch = 3, a.heads = 4, a.kv_heads = 2, a.q_len = 2, a.head_dim = kDim;
  a.kv_len = kColumns * kPageSize;
  a.q = a.out = {a.heads * a.q_len * kDim, a.q_len * kDim, kDim};
  a.k = a.v = {kPageSize * a.kv_heads * kDim, kDim, a.kv_heads * kDim};
  a.scale = 0.5, a.causal = true, a.window = 6;
  a.kv_lengths = kCachedLengths.data();
  d.block_table = table.data();
  d.table_stride = 4, d.page_size = kPageSize, d.pages = kPages;
  return d;
}

TYPED_TEST(PagedAttentionKernel, HasTheBitsOfContiguousSequences) {
  using T = TypeParam;
  using C = compute_t<T>;
  const std::vector<int32_t> table = {4, 0, 8, -1, -1, 99, -1, -1, 2, 6, 1, -1};
  const PagedAttentionDesc d = describe(table);
  const AttentionDesc& a = d.attention;
  auto q = random_values<T>(a.batch * a.q.batch, 1);
  auto k = random_values<T>(kPages * a.k.batch, 2), v = random_values<T>(kPages * a.k.batch, 3);
  // The rows of page 8 beyond the first sequence's 7 keys.
  for (int64_t x = a.k.seq; x < a.k.batch; ++x)
    k[8 * a.k.batch + x] = v[8 * a.k.batch + x] = T(NAN);
  std::vector<T> out(a.batch * a.out.batch), expected(a.out.batch);
  std::vector<C> lse(a.batch * a.heads * a.q_len), expected_lse(a.heads * a.q_len);
  EXPECT_EQ(first_bad_page(d), -1);
  paged_attention_forward<T>(d, q.data(), k.data(), v.data(), out.data(), lse.data());
  for (int64_t b = 0; b < a.batch; ++b) {
    AttentionDesc one = a;
    one.batch = 1, one.kv_lengths = nullptr, one.kv_len = kCachedLengths[b];
    std::vector<T> keys(one.kv_len * a.k.seq), values(one.kv_len * a.k.seq);
    for (int64_t j = 0; j < one.kv_len; ++j) {
      const int64_t from = table[b * 4 + j / 3] * a.k.batch + j % 3 * a.k.seq;
      std::copy_n(k.begin() + from, a.k.seq, keys.begin() + j * a.k.seq);
      std::copy_n(v.begin() + from, a.k.seq, values.begin() + j * a.k.seq);
    }
    attention_forward<T>(one, q.data() + b * a.q.batch, keys.data(), values.data(), expected.data(),
                         expected_lse.data());
    for (int64_t i = 0; i < a.out.batch; ++i)
      EXPECT_EQ(as_double(out[b * a.out.batch + i]), as_double(expected[i])) << b << " " << i;
    for (int64_t i = 0; i < a.heads * a.q_len; ++i)
      EXPECT_EQ(lse[b * a.heads * a.q_len + i], expected_lse[i]) << b << " " << i;
  }
}

TEST(PagedAttentionTable, FindsTheFirstBadPageInUse) {
  for (const int32_t bad : {9, -1}) {
    const std::vector<int32_t> table = {4, 0, 8, -1, 99, 99, -1, -1, 2, bad, bad, -1};
    const PagedAttentionDesc d = describe(table);
    EXPECT_EQ(first_bad_page(d), 2 * kColumns + 1);
    EXPECT_EQ(page_at(d, first_bad_page(d)), bad);
  }
}

}  // namespace
}  // namespace plinth::kernels::cpu
