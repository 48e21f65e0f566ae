#include "tests/kernels/attention_testing.h"

#include <omp.h>

#include <algorithm>

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

template <class T>
void place_among_nan(const std::vector<T>& from, std::vector<T>& to, int64_t first) {
  std::fill(to.begin(), to.end(), static_cast<T>(std::nanf("")));
  std::copy(from.begin(), from.end(), to.begin() + first);
}

template <class T>
void expect_same_part(const char* name, const std::vector<T>& whole, int64_t first,
                      const std::vector<T>& part) {
  for (int64_t i = 0; i < std::ssize(part); ++i)
    ASSERT_EQ(double(whole[first + i]), double(part[i])) << name << " element " << i;
}

// The case of sequence `index` of a packed batch, packed or not, or of element `index` of a padded
// one, with no padding.
Case alone(const Case& together, int64_t index, bool packed) {
  Case single = together;
  single.batch = 1, single.kv_lengths = {}, single.cu_q = single.cu_k = {};
  if (together.cu_q.empty()) {
    single.kv_len = together.kv_lengths[index];
    return single;
  }
  single.q_len = together.cu_q[index + 1] - together.cu_q[index];
  single.kv_len = together.cu_k[index + 1] - together.cu_k[index];
  if (packed) single.cu_q = {0, single.q_len}, single.cu_k = {0, single.kv_len};
  return single;
}

// It has the same bits alone, though all other rows, its padding among them, hold NaN.
template <class T>
void expect_same_bits_alone(const Case& together, int64_t index, bool packed) {
  SCOPED_TRACE(::testing::PrintToString(together) + " index " + std::to_string(index));
  const Case single = alone(together, index, packed);
  Tensors<T> expected(single), all(together);
  expected.d.philox.sample += index;
  const bool sequences = !together.cu_q.empty();
  const int64_t q_row = sequences ? together.cu_q[index] : index * together.q_len;
  const int64_t k_row = sequences ? together.cu_k[index] : index * together.kv_len;
  const int64_t q_first = q_row * all.d.q.seq, k_first = k_row * all.d.k.seq;
  place_among_nan(expected.q, all.q, q_first), place_among_nan(expected.dout, all.dout, q_first);
  place_among_nan(expected.k, all.k, k_first), place_among_nan(expected.v, all.v, k_first);
  for (Tensors<T>* t : {&expected, &all}) t->forward(), t->backward();
  expect_same_part("out", all.out, q_first, expected.out);
  expect_same_part("dq", all.dq, q_first, expected.dq);
  expect_same_part("dk", all.dk, k_first, expected.dk);
  expect_same_part("dv", all.dv, k_first, expected.dv);
  for (int64_t h = 0; h < single.heads; ++h) {
    const auto row = expected.lse.begin() + h * single.q_len;
    const int64_t first =
        sequences ? h * together.q_len + q_row : (index * together.heads + h) * together.q_len;
    expect_same_part("lse", all.lse, first, {row, row + single.q_len});
  }
}

TYPED_TEST(Attention, ASequenceHasTheSameBitsWhateverStandsBesideIt) {
  Case c{.heads = 2,
         .kv_heads = 1,
         .q_len = 230,
         .kv_len = 320,
         .causal = true,
         .cu_q = {0, 3, 3, 200, 230},
         .cu_k = {0, 5, 9, 290, 320}};
  for (const float dropout : {0.0f, 0.2f}) {
    c.dropout = dropout, c.alibi = dropout > 0;
    for (int64_t index = 0; index < 4; ++index) {
      expect_same_bits_alone<TypeParam>(c, index, true);
      // Few queries have a kernel of their own where they are not packed.
      if (index >= 2) expect_same_bits_alone<TypeParam>(c, index, false);
    }
  }
}

TYPED_TEST(Attention, APaddedRowHasTheSameBitsWhateverStandsBesideIt) {
  for (const int64_t queries : {3, 100}) {
    Case c{.batch = 4,
           .heads = 2,
           .kv_heads = 1,
           .q_len = queries,
           .kv_len = 300,
           .kv_lengths = {300, 66, 2, 199}};
    for (int64_t index = 0; index < 4; ++index) {
      expect_same_bits_alone<TypeParam>(c, index, false);
      c.soft_cap = 2, c.sinks = true;
      expect_same_bits_alone<TypeParam>(c, index, false);
      c.soft_cap = 0, c.sinks = false;
    }
  }
}

TEST(AttentionPathOnTheCpu, PackedSequencesAreNeverFewQueries) {
  AttentionDesc d;
  d.q_len = 3;
  EXPECT_STREQ(attention_path(d, false).kernel, "few queries");
  const int64_t offsets[] = {0, 3};
  d.cu_seqlens_q = d.cu_seqlens_k = offsets;
  EXPECT_STREQ(attention_path(d, false).kernel, "tiled");
}

}  // namespace
}  // namespace plinth::kernels::cpu
