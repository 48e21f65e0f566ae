#include "core/ops/attention_custom.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/autograd.h"
#include "core/error.h"
#include "core/gradcheck.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

constexpr TensorOptions kFloat64 = {DType::Float64, {}};

Tensor operand(const Shape& shape, uint32_t number) {
  return uniform(shape, -1, 1, {.seed = 6, .op = number}, kFloat64);
}

struct Diagonals {
  PLINTH_HOST_DEVICE bool visible(const AttentionPair& at) const {
    return (at.query + at.key + at.head + at.batch) % 3 != 1;
  }
};

struct Bent {
  template <class C>
  PLINTH_HOST_DEVICE C score(C x, const AttentionPair& at) const {
    return x * x * C(1 + at.head);
  }
  template <class C>
  PLINTH_HOST_DEVICE C slope(C x, const AttentionPair& at) const {
    return 2 * x * C(1 + at.head);
  }
};

TEST(CustomAttention, AMaskIsABiasOfMinusInfinity) {
  const Shape scores = {2, 2, 7, 5};
  const Tensor bias = zeros(scores, kFloat64);
  double* element = bias.data<double>();
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t i = 0; i < 7; ++i)
        for (int64_t j = 0; j < 5; ++j, ++element)
          if (!Diagonals{}.visible({.batch = b, .head = h, .query = i, .key = j}))
            *element = -std::numeric_limits<double>::infinity();
  Tensors in = {operand({2, 2, 7, 4}, 0), operand({2, 1, 5, 4}, 1), operand({2, 1, 5, 4}, 2)};
  for (Tensor& x : in) x.set_requires_grad();
  const auto custom = custom_attention(Diagonals{}, in[0], in[1]);
  const Tensor masked = attention(in[0], in[1], in[2], {.custom = custom});
  const Tensor biased = attention(in[0], in[1], in[2], {.bias = bias});
  const Tensor dy = operand(masked.shape(), 3);
  const Tensors got = grad({masked}, in, {dy}), expected = grad({biased}, in, {dy});
  const auto near = [](const Tensor& x) {
    return testing::Pointwise(testing::DoubleNear(1e-13), to_vector(x));
  };
  EXPECT_THAT(to_vector(masked), near(biased));
  for (size_t i = 0; i < in.size(); ++i) EXPECT_THAT(to_vector(got[i]), near(expected[i]));
}

TEST(CustomAttention, AChangeOfScoresHasItsGradient) {
  const Tensors in = {operand({1, 2, 3, 4}, 0).set_requires_grad(),
                      operand({1, 2, 5, 4}, 1).set_requires_grad(),
                      operand({1, 2, 5, 4}, 2).set_requires_grad()};
  const AttentionOptions options{.soft_cap = 2, .custom = custom_attention(Bent{}, in[0], in[1])};
  EXPECT_EQ(
      gradcheck([&](const Tensors& x) { return Tensors{attention(x[0], x[1], x[2], options)}; },
                in),
      "");
}

TEST(CustomAttention, BadArgumentsAreNamed) {
  const Tensor q = operand({2, 4, 3, 4}, 0), k = operand({2, 2, 5, 4}, 1);
  EXPECT_EQ(message_of([&] { custom_attention(Bent{}, q.select(0, 0), k); }),
            "custom_attention: q has shape [4, 3, 4], expected [batch, heads, queries, head_dim]");
  const auto custom = custom_attention(Bent{}, q, k.narrow(2, 0, 4));
  EXPECT_EQ(
      message_of([&] { attention(q, k, k, {.custom = custom}); }),
      "attention: custom was made for [2, 4, 3, 4], expected [2, 4, 3, 5] (batch or sequences, "
      "heads, queries, keys)");
}

TEST(CustomAttention, AMapIsOfItsOwnOffsets) {
  const auto offsets = [](int64_t middle) { return from_values<int64_t>({0, middle, 7}, {3}); };
  const auto packed = [&](int64_t q, int64_t k) {
    return AttentionOptions{.cu_seqlens_q = offsets(q), .cu_seqlens_k = offsets(k)};
  };
  const Tensor x = operand({1, 2, 7, 4}, 0), both = operand({2, 2, 7, 4}, 0);
  const auto call = [&](const Tensor& q, AttentionOptions options, const auto& custom) {
    options.custom = custom;
    return message_of([&] { attention(q, q, q, options); });
  };
  const auto custom = custom_attention(Diagonals{}, x, x, packed(2, 3));
  EXPECT_EQ(call(x, packed(2, 3), custom), "no error");
  EXPECT_EQ(call(x, packed(4, 3), custom),
            "attention: custom was made for cu_seqlens_q[1] = 2 and cu_seqlens_k[1] = 3, expected "
            "4 and 3");
  EXPECT_EQ(call(x, packed(2, 6), custom),
            "attention: custom was made for cu_seqlens_q[1] = 2 and cu_seqlens_k[1] = 3, expected "
            "2 and 6");
  EXPECT_EQ(call(both, {}, custom),
            "attention: custom was made for packed sequences, expected a batch");
  EXPECT_EQ(call(x, packed(2, 3), custom_attention(Diagonals{}, both, both)),
            "attention: custom was made for a batch, expected packed sequences");
  // Without a map there is nothing that the offsets could change; one sequence has those of all.
  EXPECT_EQ(call(x, packed(4, 3), custom_attention(Bent{}, x, x, packed(2, 3))), "no error");
  const AttentionOptions one{.cu_seqlens_q = from_values<int64_t>({0, 7}, {2}),
                             .cu_seqlens_k = from_values<int64_t>({0, 7}, {2})};
  EXPECT_EQ(call(x, one, custom_attention(Diagonals{}, x, x)), "no error");
  EXPECT_EQ(call(x, {}, custom_attention(Diagonals{}, x, x, one)), "no error");
}

}  // namespace
}  // namespace plinth
