#include "core/flop_counter.h"

#include <gtest/gtest.h>

#include "core/ops/attention.h"
#include "core/ops/conv.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"

namespace plinth {
namespace {

TEST(FlopCounter, CountsProductsForwardAndBackward) {
  Tensor x = ones({2, 3, 4}).set_requires_grad(), w = ones({5, 4}).set_requires_grad();
  FlopCounter counter;
  const Tensor y = linear(x, w);
  EXPECT_EQ(counter.count(), 2 * (2 * 3) * 4 * 5);
  sum(y).backward();
  EXPECT_EQ(counter.count(), 3 * 2 * (2 * 3) * 4 * 5);
}

TEST(FlopCounter, CountsBatches) {
  FlopCounter counter;
  matmul(ones({7, 2, 3}), ones({7, 3, 4}));
  EXPECT_EQ(counter.count(), 7 * 2 * 2 * 3 * 4);
}

TEST(FlopCounter, CountsConvolutionsForwardAndBackward) {
  Tensor x = ones({2, 4, 5, 6}).set_requires_grad(), w = ones({6, 2, 3, 3}).set_requires_grad();
  FlopCounter counter;
  const Tensor y = conv2d(x, w, {}, {.padding = 1, .groups = 2});
  EXPECT_EQ(counter.count(), 2 * (2 * 6 * 5 * 6) * (2 * 3 * 3));
  sum(y).backward();
  EXPECT_EQ(counter.count(), 3 * 2 * (2 * 6 * 5 * 6) * (2 * 3 * 3));
}

TEST(FlopCounter, NestedCountersAddUp) {
  FlopCounter outer;
  {
    FlopCounter inner;
    matmul(ones({2, 3}), ones({3, 4}));
    EXPECT_EQ(inner.count(), 48);
  }
  EXPECT_EQ(outer.count(), 48);
  FlopCounter::add(2);
  EXPECT_EQ(outer.count(), 50);
}

TEST(FlopCounter, CountsTheScoresThatAMaskLeaves) {
  const auto flops = [](int64_t queries, int64_t keys, const AttentionOptions& options) {
    FlopCounter counter;
    attention(ones({2, 3, queries, 4}), ones({2, 3, keys, 4}), ones({2, 3, keys, 4}), options);
    return counter.count() / (4 * 2 * 3 * 4);  // pairs of one head
  };
  EXPECT_EQ(flops(5, 7, {}), 35);
  EXPECT_EQ(flops(5, 5, {.causal = true}), 15);
  EXPECT_EQ(flops(2, 5, {.causal = true}), 4 + 5);
  EXPECT_EQ(flops(5, 5, {.causal = true, .window = 2}), 1 + 4 * 2);
  EXPECT_EQ(flops(5, 5, {.window = 2}), 2 + 3 * 3 + 2);
  EXPECT_EQ(flops(5, 5, {.causal = true, .kv_lengths = from_values<int64_t>({3, 3}, {2})}),
            1 + 2 + 3 + 3 + 3);
}

TEST(FlopCounter, CountsPackedSequencesAndBackward) {
  const Tensor offsets = from_values<int64_t>({0, 2, 5}, {3});
  Tensor q = ones({1, 3, 5, 4}).set_requires_grad();
  FlopCounter counter;
  const Tensor y =
      attention(q, q, q, {.causal = true, .cu_seqlens_q = offsets, .cu_seqlens_k = offsets});
  EXPECT_EQ(counter.count(), 4 * 3 * 4 * (3 + 6));
  sum(y).backward();
  EXPECT_EQ(counter.count(), 14 * 3 * 4 * (3 + 6));
}

TEST(FlopCounter, CountsTheHeadsRowsThatHaveATarget) {
  const Tensor target = from_values<int64_t>({1, -100, 0}, {3});
  Tensor x = ones({3, 4}), w = ones({5, 4}).set_requires_grad();
  FlopCounter counter;
  linear_cross_entropy(x, w.detach(), target);
  EXPECT_EQ(counter.count(), 2 * 2 * 4 * 5);
  linear_cross_entropy(x, w, target);
  EXPECT_EQ(counter.count(), 3 * 2 * 2 * 4 * 5);
}

}  // namespace
}  // namespace plinth
