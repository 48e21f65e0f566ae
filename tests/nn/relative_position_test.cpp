#include "nn/layers/relative_position.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "nn/layers/attention.h"
#include "tests/core/io/expect_error.h"

namespace plinth::nn {
namespace {

TEST(RelativePosition, BucketsGrowWithTheDistance) {
  for (const bool both : {true, false}) {
    const RelativePositionOptions options{
        .buckets = 32, .max_distance = 128, .bidirectional = both};
    int64_t last = 0;
    for (int64_t far = 0; far < 300; ++far) {
      const int64_t bucket = relative_position_bucket(-far, options);
      EXPECT_GE(bucket, last);
      EXPECT_LE(bucket, last + 1);
      if (far < (both ? 8 : 16)) {
        EXPECT_EQ(bucket, far);
      }
      if (far >= 128) {
        EXPECT_EQ(bucket, both ? 15 : 31);
      }
      EXPECT_EQ(relative_position_bucket(far, options), both && far > 0 ? bucket + 16 : 0);
      last = bucket;
    }
  }
}

TEST(RelativePosition, BiasIsTheTableByDistance) {
  RelativePositionBias bias({.heads = 2, .buckets = 8, .max_distance = 12});
  const Tensor whole = bias(6, 6);
  ASSERT_EQ(whole.shape(), Shape({1, 2, 6, 6}));
  const std::vector<double> table = to_vector(bias.parameters()[0]), got = to_vector(whole);
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t query = 0; query < 6; ++query) {
      for (int64_t key = 0; key < 6; ++key) {
        const int64_t bucket =
            relative_position_bucket(key - query, {.buckets = 8, .max_distance = 12});
        EXPECT_EQ(got[static_cast<size_t>(36 * head + 6 * query + key)],
                  table[static_cast<size_t>(2 * bucket + head)]);
      }
    }
  }
  EXPECT_EQ(to_vector(bias(2, 6, 4)), to_vector(whole.narrow(2, 4, 2)));
}

TEST(RelativePosition, RefusesSizesWithoutBuckets) {
  expect_error(ErrorKind::Argument, "takes at least 1 head, 4 buckets",
               [] { RelativePositionBias({.buckets = 3}); });
  expect_error(ErrorKind::Argument, "a max_distance above 16", [] {
    RelativePositionBias({.buckets = 32, .max_distance = 16, .bidirectional = false});
  });
  RelativePositionBias bias({});
  expect_error(ErrorKind::Argument, "got 0 queries", [&] { bias(0, 3); });
}

// Scores with a bias are those of a bias added by hand; its gradient comes back.
TEST(AttentionBias, IsAddedToScores) {
  MultiHeadAttention layer({.dim = 8, .heads = 2, .fused_qkv = false, .k_bias = false});
  EXPECT_EQ(layer.named_parameters().size(), 7U);  // four weights, and biases but k's
  const Tensor x = randn({2, 5, 8});
  const Tensor zero = zeros({1, 2, 5, 5});
  EXPECT_EQ(to_vector(layer.forward(x, {.bias = zero})), to_vector(layer(x)));
  // Keys but the first are all but forbidden.
  Tensor bias = zeros({1, 1, 1, 5}) - 1e4;
  bias.narrow(3, 0, 1).mul_(0);
  bias.set_requires_grad(true);
  const Tensor y = layer.forward(x, {.bias = bias});
  const std::vector<double> rows = to_vector(y);
  const Tensor first = layer(x.narrow(1, 0, 1));
  for (int64_t i = 0; i < 8; ++i)
    EXPECT_NEAR(rows[static_cast<size_t>(8 + i)], to_vector(first)[static_cast<size_t>(i)], 1e-5);
  sum(y).backward();
  EXPECT_EQ(bias.grad().shape(), bias.shape());
}

TEST(AttentionBias, RefusesWhatDoesNotGoWithIt) {
  expect_error(ErrorKind::Argument, "k_bias = false and q_init need fused_qkv = false",
               [] { MultiHeadAttention({.dim = 8, .heads = 2, .k_bias = false}); });
  MultiHeadAttention layer({.dim = 8, .heads = 2});
  expect_error(ErrorKind::Shape, "bias", [&] {
    layer.forward(randn({2, 5, 8}), {.bias = zeros({3, 2, 5, 5})});
  });
}

}  // namespace
}  // namespace plinth::nn
