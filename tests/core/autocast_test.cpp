#include "core/autocast.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/activation.h"
#include "core/ops/attention.h"
#include "core/ops/conv.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/normalization.h"
#include "core/ops/reduce.h"
#include "core/ops/softmax.h"

namespace plinth {
namespace {

Tensor sample(const Shape& shape, uint32_t number, TensorOptions options = {}) {
  return uniform(shape, -1, 1, {.seed = 4, .op = number}, options);
}

TEST(Autocast, ProductsTakeItsDtypeAndNormsFloat32) {
  const AutocastGuard guard(DType::BFloat16);
  const Tensor x = sample({2, 4}, 0), w = sample({4, 4}, 1);
  EXPECT_EQ(linear(x, w).dtype(), DType::BFloat16);
  EXPECT_EQ(matmul(x, w).dtype(), DType::BFloat16);
  const Tensor q = sample({1, 2, 3, 4}, 2);
  EXPECT_EQ(attention(q, q, q).dtype(), DType::BFloat16);
  const Tensor image = sample({1, 2, 3, 4}, 3), kernel = sample({5, 2, 2, 2}, 4);
  EXPECT_EQ(conv2d(image, kernel).dtype(), DType::BFloat16);
  EXPECT_EQ(conv1d(image.select(2, 0), kernel.select(2, 0)).dtype(), DType::BFloat16);
  const Tensor narrow = linear(x, w);
  EXPECT_EQ(softmax(narrow, -1).dtype(), DType::Float32);
  EXPECT_EQ(layer_norm(narrow, ones({4})).dtype(), DType::Float32);
  EXPECT_EQ(rms_norm(narrow, ones({4})).dtype(), DType::Float32);
  EXPECT_EQ(gelu(narrow).dtype(), DType::BFloat16);
  EXPECT_EQ((narrow + x).dtype(), DType::Float32);
}

TEST(Autocast, AttentionConvertsItsBiasAndLeavesItsSinks) {
  Tensor bias = sample({2, 3, 3}, 5).set_requires_grad(),
         sinks = sample({2}, 6).set_requires_grad();
  const Tensor q = sample({1, 2, 3, 4}, 2);
  Tensor out;
  {
    const AutocastGuard guard(DType::BFloat16);
    out = attention(q, q, q, {.bias = bias, .sinks = sinks});
  }
  EXPECT_EQ(out.dtype(), DType::BFloat16);
  sum(square(out)).backward();
  EXPECT_EQ(bias.grad().dtype(), DType::Float32);
  EXPECT_EQ(sinks.grad().dtype(), DType::Float32);
}

TEST(Autocast, LossesAreFloat32) {
  const AutocastGuard guard(DType::Float16);
  const Tensor x = sample({2, 4}, 0), w = sample({5, 4}, 1);
  const Tensor target = from_values<int64_t>({1, 4}, {2});
  const Tensor whole = cross_entropy(linear(x, w), target);
  const Tensor fused = linear_cross_entropy(x, w, target);
  EXPECT_EQ(whole.dtype(), DType::Float32);
  EXPECT_EQ(fused.dtype(), DType::Float32);
  EXPECT_NEAR(whole.item(), fused.item(), 2e-3);
}

TEST(Autocast, GradientsHaveTheDtypesOfTheirTensors) {
  Tensor x = sample({2, 4}, 0).set_requires_grad(), w = sample({5, 4}, 1).set_requires_grad();
  Tensor loss, fused;
  {
    const AutocastGuard guard(DType::BFloat16);
    loss = sum(square(linear(x, w)));
    fused = linear_cross_entropy(x, w, from_values<int64_t>({1, 4}, {2}));
  }
  (loss + fused).backward();
  EXPECT_EQ(x.grad().dtype(), DType::Float32);
  EXPECT_EQ(w.grad().dtype(), DType::Float32);
}

TEST(Autocast, BackwardInsideTheGuardGivesTheSameBits) {
  const auto gradient = [](bool inside) {
    Tensor x = sample({3, 4}, 0).set_requires_grad();
    const Tensor w = sample({4, 4}, 1), late = sample({4, 4}, 2);
    const Tensor before = matmul(x, w);  // in float32
    const AutocastGuard guard(DType::BFloat16);
    const Tensor loss = sum(square(matmul(before, late)));
    if (inside) {
      loss.backward();
    } else {
      const AutocastGuard off(DType::Float32);
      loss.backward();
    }
    return to_vector(x.grad());
  };
  EXPECT_EQ(gradient(true), gradient(false));
}

TEST(Autocast, CheckpointReplaysIt) {
  const auto gradient = [](bool checkpointed) {
    Tensor x = sample({3, 4}, 0).set_requires_grad();
    const auto f = [w = sample({4, 4}, 1)](const Tensors& in) { return square(matmul(in[0], w)); };
    Tensor y;
    {
      const AutocastGuard guard(DType::BFloat16);
      y = checkpointed ? checkpoint(f, {x}) : f({x});
    }
    EXPECT_EQ(y.dtype(), DType::BFloat16);
    sum(y).backward();
    return to_vector(x.grad());
  };
  EXPECT_EQ(gradient(true), gradient(false));
}

TEST(Autocast, NarrowIsAddedToFloat32WithoutACopy) {
  for (const DType dtype : {DType::BFloat16, DType::Float16}) {
    for (const auto& [wide_shape, narrow_shape] :
         {std::pair<Shape, Shape>{{3, 37}, {3, 37}}, {{3, 37}, {37}}, {{37}, {3, 1}}, {{}, {3}}}) {
      const Tensor wide = sample(wide_shape, 0), narrow = sample(narrow_shape, 1).to(dtype);
      const Tensor expected = wide + narrow.to(DType::Float32);
      EXPECT_EQ((wide + narrow).dtype(), DType::Float32);
      EXPECT_EQ(to_vector(wide + narrow), to_vector(expected));
      EXPECT_EQ(to_vector(narrow + wide), to_vector(expected));
      Tensor sum = wide.expand(expected.shape()).clone();
      EXPECT_EQ(to_vector(sum.add_(narrow)), to_vector(expected));
    }
    Tensor turned = sample({5, 4}, 0);
    const Tensor narrow = sample({4, 5}, 1).to(dtype);
    const Tensor expected = turned.transpose(0, 1) + narrow.to(DType::Float32);
    turned.transpose(0, 1).add_(narrow);
    EXPECT_EQ(to_vector(turned.transpose(0, 1)), to_vector(expected));
  }
}

// What accumulates in a float32 weight whose products are in bfloat16.
class NarrowGradients : public testing::Test {
 protected:
  Tensor weight_ = sample({5, 4}, 0).set_requires_grad();

  // Adds up the elements of as many products, with different inputs.
  Tensor loss(uint32_t products) const {
    const AutocastGuard guard(DType::BFloat16);
    Tensor total = zeros({});
    for (uint32_t i = 0; i < products; ++i) total = total + sum(linear(input(i), weight_));
    return total;
  }
  static Tensor input(uint32_t number) { return sample({7, 4}, 1 + number); }
  // Of one such product, rounded to bfloat16.
  Tensor gradient_of(uint32_t number) const {
    const Tensor narrow = weight_.detach().to(DType::BFloat16).set_requires_grad();
    sum(linear(input(number).to(DType::BFloat16), narrow)).backward();
    return narrow.grad().to(DType::Float32);
  }
};

TEST_F(NarrowGradients, AreAddedToWhatIsThere) {
  weight_.set_grad(sample({5, 4}, 9));
  const Tensor expected = weight_.grad() + gradient_of(0);
  loss(1).backward();
  EXPECT_EQ(weight_.grad().dtype(), DType::Float32);
  EXPECT_EQ(to_vector(weight_.grad()), to_vector(expected));
}

TEST_F(NarrowGradients, OfSeveralProductsAreSummedInFloat32) {
  weight_.set_grad(zeros({5, 4}));
  loss(3).backward();
  const Tensor expected = gradient_of(2) + gradient_of(1) + gradient_of(0);
  EXPECT_EQ(to_vector(weight_.grad()), to_vector(expected));
}

TEST_F(NarrowGradients, AreSeenInFloat32) {
  weight_.set_grad(zeros({5, 4}));
  EXPECT_EQ(grad({loss(1)}, {weight_})[0].dtype(), DType::Float32);
  DType seen{};
  weight_.register_hook([&](const Tensor& gradient) {
    seen = gradient.dtype();
    return Tensor();
  });
  loss(1).backward();
  EXPECT_EQ(seen, DType::Float32);
  EXPECT_EQ(to_vector(weight_.grad()), to_vector(gradient_of(0)));
}

TEST(Autocast, LeavesFloat64AndIntegersAlone) {
  const AutocastGuard guard(DType::BFloat16);
  const Tensor x = sample({2, 2}, 0, {DType::Float64, {}});
  EXPECT_EQ(matmul(x, x).dtype(), DType::Float64);
  EXPECT_EQ(softmax(x, 0).dtype(), DType::Float64);
  EXPECT_FALSE(autocast({}).defined());
  EXPECT_EQ(autocast(arange(0, 3)).dtype(), DType::Int64);
}

TEST(Autocast, GuardsNestAndBelongToTheirThread) {
  EXPECT_EQ(autocast_dtype(), DType::Float32);
  const AutocastGuard outer(DType::BFloat16);
  {
    const AutocastGuard inner(DType::Float16);
    EXPECT_EQ(autocast_dtype(), DType::Float16);
    const AutocastGuard off(DType::Float32);
    const Tensor x = sample({2, 2}, 0);
    EXPECT_EQ(matmul(x, x).dtype(), DType::Float32);
  }
  EXPECT_EQ(autocast_dtype(), DType::BFloat16);
  DType elsewhere{};
  std::thread([&] { elsewhere = autocast_dtype(); }).join();
  EXPECT_EQ(elsewhere, DType::Float32);
}

// ---- converted once ----

TEST(AutocastCache, ConvertsALeafOnceUntilItIsWrittenTo) {
  Tensor w = sample({3, 5}, 0).set_requires_grad();
  const AutocastGuard guard(DType::BFloat16);
  const AutocastCache cache;
  const Tensor first = autocast(w), second = autocast(w);
  EXPECT_EQ(first.raw_data(), second.raw_data());
  const std::vector<double> before = to_vector(first);
  EXPECT_EQ(before, to_vector(w.detach().to(DType::BFloat16)));
  {
    const NoGradGuard no_grad;
    w.mul_(3);
  }
  EXPECT_EQ(to_vector(autocast(w)), to_vector(w.detach().to(DType::BFloat16)));
  EXPECT_EQ(to_vector(first), before);
  const AutocastGuard other(DType::Float16);
  EXPECT_EQ(to_vector(autocast(w)), to_vector(w.detach().to(DType::Float16)));
}

TEST(AutocastCache, KeepsNoConstantsNorResults) {
  const Tensor w = sample({3, 5}, 0).set_requires_grad(), constant = sample({3, 5}, 1);
  const AutocastGuard guard(DType::BFloat16);
  const Tensor result = w + constant;
  const AutocastCache cache;
  for (const Tensor& x : {constant, result}) {
    const Tensor first = autocast(x), second = autocast(x);
    EXPECT_NE(first.raw_data(), second.raw_data());
  }
  EXPECT_TRUE(cache.used().empty());
}

TEST(AutocastCache, BeginsWithWhatAnotherWasAskedFor) {
  const Tensor a = sample({3, 5}, 0).set_requires_grad(), b = sample({7}, 1).set_requires_grad(),
               turned = sample({4, 2}, 2).transpose(0, 1).detach().set_requires_grad();
  std::vector<AutocastCache::Conversion> used;
  const auto take = [&](const Tensors& leaves, DType dtype) {
    const AutocastGuard guard(dtype);
    for (const Tensor& leaf : leaves)
      EXPECT_EQ(to_vector(autocast(leaf)), to_vector(leaf.detach().to(dtype)));
  };
  {
    const AutocastCache cache;
    take({a, b, turned}, DType::BFloat16);
    take({b}, DType::Float16);
    used = cache.used();
    ASSERT_EQ(used.size(), 4U);
  }
  const AutocastCache next(used);
  EXPECT_TRUE(next.used().empty());
  take({b, turned}, DType::BFloat16);
  ASSERT_EQ(next.used().size(), 2U);
  EXPECT_TRUE(next.used()[0].leaf.is(b));
}

TEST(AutocastCache, LeavesTheBitsOfGradients) {
  const auto gradients = [](bool cached) {
    const Tensor w = sample({4, 4}, 0).set_requires_grad(), b = sample({4}, 1).set_requires_grad();
    std::optional<AutocastCache> cache;
    if (cached) cache.emplace();
    for (uint32_t micro_batch = 0; micro_batch < 3; ++micro_batch) {
      const auto f = [&](const Tensors& in) { return linear(gelu(linear(in[0], w, b)), w, b); };
      Tensor y;
      {
        const AutocastGuard guard(DType::BFloat16);
        y = checkpoint(f, {f({sample({3, 4}, 2 + micro_batch)})});
      }
      sum(square(y)).backward();
    }
    return std::pair(to_vector(w.grad()), to_vector(b.grad()));
  };
  EXPECT_EQ(gradients(true), gradients(false));
}

TEST(Autocast, TakesNoOtherDtype) {
  try {
    const AutocastGuard guard(DType::Float8_e4m3);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "AutocastGuard: got dtype float8_e4m3, takes bfloat16, float16, or float32 for none");
  }
  EXPECT_EQ(autocast_dtype(), DType::Float32);
}

}  // namespace
}  // namespace plinth
