// Soft caps, ALiBi, biases, sinks, and the gradient of lse.

#include "tests/kernels/attention_testing.h"

namespace plinth::kernels::cpu {
namespace {

template <class T>
class AttentionScore : public ::testing::Test {};
TYPED_TEST_SUITE(AttentionScore, AttentionTypes);

TYPED_TEST(AttentionScore, SoftCapsBendScores) {
  for (const int64_t queries : {2, 100})
    for (const bool causal : {false, true})
      expect_attention<TypeParam>({.batch = 2,
                                   .heads = 2,
                                   .kv_heads = 1,
                                   .q_len = queries,
                                   .kv_len = 133,
                                   .causal = causal,
                                   .soft_cap = 1.5f});
}

TYPED_TEST(AttentionScore, AlibiFallsWithDistance) {
  for (const int64_t queries : {2, 100})
    for (const bool causal : {false, true})
      expect_attention<TypeParam>({.heads = 4,
                                   .kv_heads = 2,
                                   .q_len = queries,
                                   .kv_len = 133,
                                   .causal = causal,
                                   .alibi = true});
  expect_attention<TypeParam>({.heads = 2,
                               .kv_heads = 2,
                               .q_len = 60,
                               .kv_len = 50,
                               .cu_q = {0, 20, 60},
                               .cu_k = {0, 30, 50},
                               .alibi = true});
}

TYPED_TEST(AttentionScore, BiasIsBroadcastAlongAnyDimension) {
  for (const char* bias : {"bhqk", "hqk", "bqk", "qk", "bhk", "k", "hk", "bhq", "q", "bh", "b"})
    for (const int64_t queries : {3, 105})
      expect_attention<TypeParam>({.batch = 2,
                                   .heads = 4,
                                   .kv_heads = 2,
                                   .q_len = queries,
                                   .kv_len = 140,
                                   .dim = 8,
                                   .causal = true,
                                   .bias = bias});
}

// Batches of which each part adds up a dbias of its own, and one too small for parts.
TYPED_TEST(AttentionScore, BiasIsAddedUpAlongTheBatch) {
  for (const int64_t batch : {3, 8, 11})
    expect_attention<TypeParam>({.batch = batch,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .q_len = 105,
                                 .kv_len = 140,
                                 .causal = batch == 11,
                                 .dropout = 0.2f,
                                 .bias = "hqk",
                                 .bias_step = 2});
  expect_attention<TypeParam>(
      {.batch = 16,
       .heads = 2,
       .kv_heads = 2,
       .q_len = 20,
       .kv_len = 40,
       .kv_lengths = {0, 40, 33, 1, 7, 9, 30, 40, 40, 2, 40, 40, 5, 6, 7, 8},
       .alibi = true,
       .bias = "hqk"});
}

TYPED_TEST(AttentionScore, BiasGoesWithMasksAndDropout) {
  expect_attention<TypeParam>({.batch = 2,
                               .heads = 2,
                               .kv_heads = 1,
                               .q_len = 100,
                               .kv_len = 150,
                               .window = 9,
                               .dropout = 0.2f,
                               .soft_cap = 2,
                               .dlse = true,
                               .bias = "hqk",
                               .bias_step = 3});
  expect_attention<TypeParam>({.batch = 3,
                               .heads = 2,
                               .kv_heads = 2,
                               .q_len = 20,
                               .kv_len = 140,
                               .kv_lengths = {0, 140, 33},
                               .sinks = true,
                               .bias = "bk"});
}

TYPED_TEST(AttentionScore, SinksTakeWeight) {
  for (const int64_t queries : {2, 100})
    for (const int64_t keys : {20, 133})  // fewer keys than queries: the first see none
      expect_attention<TypeParam>({.batch = 2,
                                   .heads = 4,
                                   .kv_heads = 2,
                                   .q_len = queries,
                                   .kv_len = keys,
                                   .causal = true,
                                   .sinks = true,
                                   .dlse = true});
  expect_attention<TypeParam>({.heads = 2,
                               .kv_heads = 2,
                               .q_len = 60,
                               .kv_len = 50,
                               .dropout = 0.1f,
                               .cu_q = {0, 20, 60},
                               .cu_k = {0, 30, 50},
                               .sinks = true});
}

TYPED_TEST(AttentionScore, LseHasAGradient) {
  for (const int64_t queries : {2, 100})
    expect_attention<TypeParam>(
        {.batch = 2, .heads = 2, .kv_heads = 2, .q_len = queries, .kv_len = 133, .dlse = true});
}

TYPED_TEST(AttentionScore, AQueryThatBiasesLeaveNoKeyGivesZero) {
  using C = compute_t<TypeParam>;
  constexpr C kInfinity = std::numeric_limits<C>::infinity();
  for (const int64_t queries : {2, 9}) {
    Tensors<TypeParam> t({.q_len = queries, .kv_len = 40, .sinks = true, .bias = "qk"});
    t.sinks[0] = -kInfinity;
    std::fill_n(t.bias.begin(), 40, TypeParam(-kInfinity));  // of query 0
    t.forward();
    t.backward();
    EXPECT_EQ(t.lse[0], -kInfinity);
    EXPECT_TRUE(std::isfinite(t.lse[1]));
    EXPECT_EQ(t.dsinks[0], 0);
    for (int64_t x = 0; x < t.d.head_dim; ++x) {
      EXPECT_EQ(double(t.out[x]), 0);
      EXPECT_EQ(double(t.dq[x]), 0);
    }
    for (const auto* values : {&t.out, &t.dq, &t.dk, &t.dv, &t.dbias})
      for (const auto& value : *values) ASSERT_TRUE(std::isfinite(double(value)));
  }
}

}  // namespace
}  // namespace plinth::kernels::cpu
