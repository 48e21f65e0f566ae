#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/autograd.h"
#include "core/gradcheck.h"
#include "core/ops/attention.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"

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

// The gradient that reaches x, which must be called.
Tensor gradient_at(const Tensor& x, const std::function<void()>& run) {
  Tensor seen;
  x.register_hook([&](const Tensor& gradient) {
    seen = gradient;
    return Tensor();
  });
  run();
  return seen;
}

TEST(Split, PartsOfOneGradientAreNotCopied) {
  const Tensor x = leaf(), y = x * 1.0;
  const Tensors parts = y.split({2, 3}, 1);
  const Tensor gradient = uniform(y.shape(), -1, 1, {.seed = 4}, y.options());
  const std::vector<double> before = to_vector(gradient);
  const Tensor seen = gradient_at(y, [&] {
    backward(parts, gradient.split({2, 3}, 1), {.retain_graph = true});
  });
  EXPECT_EQ(seen.raw_data(), gradient.raw_data());
  EXPECT_EQ(to_vector(x.grad()), before);
  // What comes by another way is not added to the caller's tensor.
  backward({parts[0], parts[1], sum(y)}, {gradient.narrow(1, 0, 2), gradient.narrow(1, 2, 3), {}});
  EXPECT_EQ(to_vector(gradient), before);
}

TEST(Split, PartsThatLieOtherwiseAreJoined) {
  const Tensor x = leaf(), y = x * 1.0;
  const Tensor gradient = uniform(y.shape(), -1, 1, {.seed = 4}, y.options());
  const Tensors turned = {gradient.narrow(1, 2, 3), gradient.narrow(1, 0, 2)};
  const Tensor seen = gradient_at(y, [&] { backward(y.split({3, 2}, 1), turned); });
  EXPECT_NE(seen.storage(), gradient.storage());
  EXPECT_EQ(to_vector(seen), to_vector(cat(turned, 1)));
}

TEST(Split, AttentionWritesTheGradientOfTheWhole) {
  constexpr int64_t kBatch = 2, kTime = 5, kHeads = 4, kKeyHeads = 2, kDim = 8;
  const auto run = [&](bool whole) {
    const Tensor x = uniform({kBatch, kTime, kHeads + 2 * kKeyHeads, kDim}, -1, 1, {.seed = 5})
                         .set_requires_grad();
    const Tensor y = x * 1.0;
    Tensors parts = y.split({kHeads, kKeyHeads, kKeyHeads}, 2);
    if (!whole) parts[1] = parts[1] * 1.0;
    for (Tensor& part : parts) part = part.transpose(1, 2);
    const Tensor out = attention(parts[0], parts[1], parts[2], {.causal = true});
    Tensor of_queries, of_whole;
    of_whole = gradient_at(
        y, [&] { of_queries = gradient_at(parts[0], [&] { sum(out * out).backward(); }); });
    EXPECT_EQ(of_whole.storage() == of_queries.storage(), whole);
    return to_vector(x.grad());
  };
  EXPECT_EQ(run(true), run(false));
}

}  // namespace
}  // namespace plinth
