#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(SetData, EveryHandleSeesTheNewElements) {
  Tensor leaf = ones({2}).set_requires_grad();
  const Tensor handle = leaf;
  const Tensor source = from_values<double>({1, 2, 3}, {3});
  leaf.set_data(source);
  EXPECT_EQ(handle.dtype(), DType::Float64);
  EXPECT_THAT(to_vector(handle), ElementsAre(1, 2, 3));
  EXPECT_EQ(handle.storage(), source.storage());
  EXPECT_TRUE(handle.requires_grad());
}

TEST(SetData, GradientsAreOfTheNewGeometry) {
  Tensor leaf = ones({2}).set_requires_grad();
  sum(leaf * 2.0).backward();
  const Tensor before = sum(leaf);  // keeps the old accumulator alive
  leaf.set_data(ones({3}, {DType::Float64, {}}));
  EXPECT_FALSE(leaf.grad().defined());
  sum(leaf * 3.0).backward();
  EXPECT_EQ(leaf.grad().dtype(), DType::Float64);
  EXPECT_THAT(to_vector(leaf.grad()), ElementsAre(3, 3, 3));
}

TEST(SetData, OnlyLeavesOfFloatingPointTakeIt) {
  Tensor leaf = ones({2}).set_requires_grad();
  Tensor computed = leaf * 2.0, view = ones({4}).slice(0, 0, 2);
  EXPECT_THAT(message_of([&] { computed.set_data(ones({2})); }), HasSubstr("computed by an op"));
  EXPECT_THAT(message_of([&] { view.set_data(ones({2})); }), HasSubstr("computed by an op"));
  EXPECT_THAT(message_of([&] {
                leaf.set_data(zeros({2}, {DType::Int64, {}}));
              }),
              HasSubstr("source has dtype int64"));
}

}  // namespace
}  // namespace plinth
