#include "core/flop_counter.h"

#include <gtest/gtest.h>

#include "core/ops/factories.h"
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

}  // namespace
}  // namespace plinth
