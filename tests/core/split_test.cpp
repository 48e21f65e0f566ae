#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/gradcheck.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"

namespace plinth {
namespace {

using testing::ElementsAre;

Tensor leaf() {
  return uniform({2, 5, 3}, -1, 1, {.seed = 3}, {DType::Float64, {}}).set_requires_grad();
}

TEST(Split, PartsAreViewsInOrder) {
  const Tensor x = leaf();
  const Tensors parts = x.split({2, 0, 3}, 1);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[1].shape(), Shape({2, 0, 3}));
  EXPECT_EQ(parts[2].storage(), x.storage());
  EXPECT_EQ(to_vector(parts[2]), to_vector(x.narrow(1, 2, 3)));
}

TEST(Split, GradientsOfAnyOrder) {
  // The middle part is not used: its gradient is zeros.
  const auto f = [](const Tensors& in) {
    const Tensors parts = in[0].split({1, 2, 2}, 1);
    return Tensors{exp(parts[0]), parts[2] * parts[2] * parts[2]};
  };
  EXPECT_EQ(gradcheck(f, {leaf()}), "");
  EXPECT_EQ(gradgradcheck(f, {leaf()}), "");
  const auto halves = [](const Tensors& in) {
    const Tensors parts = in[0].chunk(2, -1);
    return Tensors{exp(parts[1]) * parts[0].narrow(2, 0, 1)};
  };
  EXPECT_EQ(gradcheck(halves, {leaf()}), "");
}

TEST(Split, WritesThroughAPartReachTheWhole) {
  Tensor a = ones({2}, {DType::Float64, {}}).set_requires_grad();
  Tensor whole = zeros({4}, {DType::Float64, {}});
  Tensors parts = whole.split({2, 2}, 0);
  parts[1].copy_(a * 3.0);
  sum(whole * whole).backward();
  EXPECT_THAT(to_vector(whole), ElementsAre(0, 0, 3, 3));
  EXPECT_THAT(to_vector(a.grad()), ElementsAre(18, 18));
}

}  // namespace
}  // namespace plinth
