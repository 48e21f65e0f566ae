#include "tests/kernels/attention_testing.h"

#include <omp.h>

namespace plinth::kernels::cpu {
namespace {

template <class T>
class Attention : public ::testing::Test {};
TYPED_TEST_SUITE(Attention, AttentionTypes);

TYPED_TEST(Attention, MatchesTheDefinitionAtEveryRemainder) {
  for (const int64_t queries : {1, 5, 7, 49, 100})
    for (const int64_t keys : {1, 15, 33, 64, 130})
      expect_attention<TypeParam>(
          {.batch = 1, .heads = 2, .kv_heads = 2, .q_len = queries, .kv_len = keys});
}

TYPED_TEST(Attention, TakesAnyHeadDim) {
  for (const int64_t dim : {1, 8, 15, 32, 64, 72, 80, 128})
    for (const int64_t queries : {2, 20})
      expect_attention<TypeParam>({.batch = 1, .q_len = queries, .kv_len = 140, .dim = dim});
}

TYPED_TEST(Attention, CausalIsAlignedToTheLastKey) {
  for (const int64_t queries : {1, 3, 40, 150})
    for (const int64_t keys : {1, 40, 66, 150})  // fewer keys than queries: the first see none
      expect_attention<TypeParam>({.q_len = queries, .kv_len = keys, .causal = true});
}

TYPED_TEST(Attention, WindowsSlide) {
  for (const bool causal : {false, true})
    for (const int64_t window : {1, 10, 64, 1000})
      for (const int64_t queries : {3, 100, 200})
        expect_attention<TypeParam>(
            {.q_len = queries, .kv_len = 150, .causal = causal, .window = window});
}

TYPED_TEST(Attention, PaddedKeysAreNotSeen) {
  for (const bool causal : {false, true})
    for (const int64_t queries : {2, 100})
      expect_attention<TypeParam>({.batch = 4,
                                   .heads = 2,
                                   .kv_heads = 1,
                                   .q_len = queries,
                                   .kv_len = 140,
                                   .causal = causal,
                                   .kv_lengths = {140, 0, 1, 67}});
}

TYPED_TEST(Attention, QueryHeadsShareKeys) {
  for (const int64_t kv_heads : {1, 2, 6})
    for (const int64_t queries : {1, 100})
      expect_attention<TypeParam>({.batch = 2,
                                   .heads = 6,
                                   .kv_heads = kv_heads,
                                   .q_len = queries,
                                   .kv_len = 140,
                                   .causal = true});
}

TYPED_TEST(Attention, DropoutFollowsPhilox) {
  for (const int64_t queries : {2, 100})
    expect_attention<TypeParam>({.batch = 2,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .q_len = queries,
                                 .kv_len = 133,
                                 .causal = true,
                                 .dropout = 0.3f});
}

TYPED_TEST(Attention, TakesAnyStrides) {
  for (const Order order : {Order::SeqHead, Order::HeadSeq, Order::Gaps})
    for (const int64_t queries : {2, 100})
      expect_attention<TypeParam>(
          {.batch = 2, .heads = 2, .kv_heads = 2, .q_len = queries, .kv_len = 140, .order = order});
}

TYPED_TEST(Attention, PackedSequencesSeeThemselves) {
  for (const bool causal : {false, true})
    for (const float dropout : {0.0f, 0.2f})
      expect_attention<TypeParam>({.heads = 2,
                                   .kv_heads = 2,
                                   .q_len = 120,
                                   .kv_len = 150,
                                   .causal = causal,
                                   .dropout = dropout,
                                   .cu_q = {0, 1, 1, 80, 120},
                                   .cu_k = {0, 7, 9, 110, 150}});
}

TYPED_TEST(Attention, EmptyDimensions) {
  expect_attention<TypeParam>({.q_len = 0, .kv_len = 5, .sinks = true, .bias = "k"});
  expect_attention<TypeParam>({.q_len = 5, .kv_len = 0, .sinks = true, .bias = "q"});
  expect_attention<TypeParam>({.batch = 0});
  expect_attention<TypeParam>({.q_len = 0, .kv_len = 5});
  expect_attention<TypeParam>({.q_len = 5, .kv_len = 0});
  expect_attention<TypeParam>({.q_len = 2, .kv_len = 0});
  expect_attention<TypeParam>({.q_len = 6, .kv_len = 5, .dim = 0});
  expect_attention<TypeParam>({.q_len = 2, .kv_len = 5, .dim = 0});
}

TYPED_TEST(Attention, LargeScoresDoNotOverflow) {
  Tensors<TypeParam> t({.heads = 1, .q_len = 100, .kv_len = 140});
  t.d.scale = 300;
  const Reference expected = reference<TypeParam>([&] {
    Tensors<TypeParam> small = t;
    return small;
  }());
  t.forward();
  for (const auto& value : t.out) ASSERT_TRUE(std::isfinite(double(value)));
  for (size_t i = 0; i < t.lse.size(); ++i) {
    if (std::isfinite(expected.lse[i])) {
      ASSERT_NEAR(double(t.lse[i]), expected.lse[i], 1e-4 * std::fabs(expected.lse[i]));
    }
  }
}

TYPED_TEST(Attention, ANanQueryLeavesTheOthersAsTheyAre) {
  const Case c{.heads = 1, .q_len = 40, .kv_len = 300};
  Tensors<TypeParam> clean(c);
  clean.d.scale = 30;  // the largest score of a row grows often
  clean.forward();
  for (int64_t nan = 0; nan < c.q_len; nan += 3) {
    Tensors<TypeParam> t(c);
    t.d.scale = clean.d.scale;
    t.q[nan * c.dim] = static_cast<TypeParam>(std::nanf(""));
    t.forward();
    for (int64_t i = 0; i < std::ssize(t.out); ++i) {
      if (i / c.dim == nan) {
        ASSERT_TRUE(std::isnan(double(t.out[i]))) << i;
      } else {
        ASSERT_EQ(double(t.out[i]), double(clean.out[i])) << "query " << nan << " element " << i;
      }
    }
  }
}

TYPED_TEST(Attention, BitsDependOnTheShapeOnly) {
  const Case c{.batch = 9,
               .heads = 4,
               .kv_heads = 2,
               .q_len = 130,
               .kv_len = 130,
               .causal = true,
               .sinks = true,
               .bias = "hqk"};
  Tensors<TypeParam> one(c), three(c);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  one.forward();
  one.backward();
  omp_set_num_threads(3);
  three.forward();
  three.backward();
  omp_set_num_threads(threads);
  for (size_t i = 0; i < one.q.size(); ++i) {
    ASSERT_EQ(double(one.out[i]), double(three.out[i]));
    ASSERT_EQ(double(one.dq[i]), double(three.dq[i]));
  }
  for (size_t i = 0; i < one.k.size(); ++i) {
    ASSERT_EQ(double(one.dk[i]), double(three.dk[i]));
    ASSERT_EQ(double(one.dv[i]), double(three.dv[i]));
  }
  for (size_t i = 0; i < one.bias.size(); ++i)
    ASSERT_EQ(double(one.dbias[i]), double(three.dbias[i]));
  EXPECT_EQ(one.dsinks, three.dsinks);
}

}  // namespace
}  // namespace plinth::kernels::cpu
