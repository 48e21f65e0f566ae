// Masks and changes of scores of the caller's own.

#include "kernels/attention/custom.h"

#include "kernels/attention/weights.h"
#include "tests/kernels/attention_testing.h"

namespace plinth::kernels::cpu {
namespace {

// Keys of a prefix, and those before; and what the reference asks besides.
struct PrefixLm {
  static constexpr bool kAllHeadsAlike = true, kAllBatchesAlike = true;
  int64_t prefix;
  PLINTH_HOST_DEVICE bool visible(const AttentionPair& at) const {
    return at.key < prefix || at.key <= at.query;
  }
};
static_assert(MasksPairs<PrefixLm> && !ChangesScores<PrefixLm>);
struct PrefixLmAsItIs : PrefixLm {
  double score(double x, const AttentionPair&) const { return x; }
  double slope(double, const AttentionPair&) const { return 1; }
};

// Every pair of another head, element and length sees other keys, by a bent score.
struct Irregular {
  PLINTH_HOST_DEVICE bool visible(const AttentionPair& at) const {
    if (at.query / 64 == at.key / 64) return true;
    return at.query > at.key + 64 && (at.query + 2 * at.key + at.head + 3 * at.batch) % 5 != 0;
  }
  template <class C>
  PLINTH_HOST_DEVICE C score(C x, const AttentionPair& at) const {
    return x + C(0.1) * x * x * C(1 + at.head) - C(at.kv_len - at.key) / C(64);
  }
  template <class C>
  PLINTH_HOST_DEVICE C slope(C x, const AttentionPair& at) const {
    return 1 + C(0.2) * x * C(1 + at.head);
  }
};

// A change of scores alone, and what the reference asks besides.
struct Steeper {
  template <class C>
  PLINTH_HOST_DEVICE C score(C x, const AttentionPair& at) const {
    return x * C(2 + at.head % 2);
  }
  template <class C>
  PLINTH_HOST_DEVICE C slope(C, const AttentionPair& at) const {
    return C(2 + at.head % 2);
  }
};
static_assert(ChangesScores<Steeper> && !MasksPairs<Steeper>);
struct SteeperSeeingAll : Steeper {
  bool visible(const AttentionPair&) const { return true; }
};

template <class T>
class AttentionCustom : public ::testing::Test {};
TYPED_TEST_SUITE(AttentionCustom, AttentionTypes);

// Against the definition with `expected`, which answers all that it asks.
template <class T, class F, class Expected>
void expect_custom(const Case& c, const F& functor, const Expected& expected) {
  SCOPED_TRACE(::testing::PrintToString(c));
  Tensors<T> t(c);
  const CustomAttention<F> custom(functor, t.d);
  t.d.custom = &custom.score();
  expect_results(t, expected);
}

TYPED_TEST(AttentionCustom, AMaskHidesKeys) {
  for (const int64_t queries : {3, 150})
    expect_custom<TypeParam>(
        {.batch = 2, .heads = 2, .kv_heads = 1, .q_len = queries, .kv_len = 140}, PrefixLm{70},
        PrefixLmAsItIs{{70}});
}

TYPED_TEST(AttentionCustom, GoesWithAllElse) {
  expect_custom<TypeParam>({.batch = 2,
                            .heads = 4,
                            .kv_heads = 2,
                            .q_len = 140,
                            .kv_len = 150,
                            .causal = true,
                            .dropout = 0.2f,
                            .kv_lengths = {150, 80},
                            .soft_cap = 3,
                            .sinks = true,
                            .bias = "hqk"},
                           Irregular{}, Irregular{});
  expect_custom<TypeParam>({.heads = 2,
                            .kv_heads = 2,
                            .q_len = 140,
                            .kv_len = 220,
                            .cu_q = {0, 100, 140},
                            .cu_k = {0, 70, 220}},
                           Irregular{}, Irregular{});
}

TYPED_TEST(AttentionCustom, AChangeNeedsNoMask) {
  for (const int64_t queries : {4, 100})
    expect_custom<TypeParam>({.heads = 2, .kv_heads = 1, .q_len = queries, .kv_len = 133},
                             Steeper{}, SteeperSeeingAll{});
}

TEST(AttentionBlockMap, TellsWhatIsSeen) {
  AttentionDesc d;
  d.batch = 3, d.heads = 2, d.q_len = 130, d.kv_len = 200;
  const CustomAttention<PrefixLm> custom(PrefixLm{64}, d);
  const CustomScore& score = custom.score();
  const auto sight = [&](int64_t query, int64_t last_query, int64_t key, int64_t last_key) {
    return score.sight({.batch = 2, .head = 1, .query = query, .key = key}, last_query, last_key);
  };
  EXPECT_EQ(sight(0, 63, 0, 63), BlockSight::Full);
  EXPECT_EQ(sight(0, 63, 64, 199), BlockSight::Empty);
  EXPECT_EQ(sight(64, 127, 64, 127), BlockSight::Partial);
  EXPECT_EQ(sight(60, 70, 60, 63), BlockSight::Full);
  EXPECT_EQ(sight(10, 20, 60, 70), BlockSight::Partial);
  EXPECT_EQ(sight(128, 129, 64, 127), BlockSight::Full);
}

TEST(AttentionBlockMap, WeightsAreOfTheMask) {
  Tensors<float> t({.batch = 1, .heads = 1, .kv_heads = 1, .q_len = 9, .kv_len = 80});
  const CustomAttention<PrefixLm> custom(PrefixLm{4}, t.d);
  t.d.custom = &custom.score();
  const int64_t head = 0, row = 6;
  std::vector<float> weights(80);
  attention_weights(t.d, 1, &head, 1, &row, t.q.data(), t.k.data(), weights.data());
  for (int64_t j = 0; j < 80; ++j) EXPECT_EQ(weights[j] > 0, j <= row) << j;
}

}  // namespace
}  // namespace plinth::kernels::cpu
