// Where the ops of a backward pass leave gradients: in grad() of a leaf that was cleared.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/matmul.h"
#include "core/ops/mlp.h"
#include "core/ops/normalization.h"
#include "core/ops/reduce.h"

namespace plinth {
namespace {

using testing::ElementsAre;

// A leaf whose gradient is zeros, and known to be.
Tensor cleared(const Tensor& values, DType grad_dtype) {
  Tensor leaf = values.clone().set_requires_grad();
  leaf.set_grad(zeros(leaf.shape(), {grad_dtype, {}}));
  mark_grad_cleared(leaf);
  return leaf;
}
Tensor cleared(const Tensor& values) {
  return cleared(values, values.dtype());
}

// What scaled() found.
struct Found {
  int memory = 0;  // how often there was some
  DType dtype{};   // of the last place
};

// x * factor, whose backward leaves the gradient where it may.
Tensor scaled(const Tensor& x, double factor, Found* found) {
  return record("scaled", {x}, x.detach() * factor, {},
                [=](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  const GradientPlace place = c.place(0);
                  found->dtype = place.dtype;
                  found->memory += place.memory.defined();
                  const Tensor dx = dy.to(place.dtype) * factor;
                  if (!place.memory.defined()) return {dx};
                  Tensor(place.memory).copy_(dx);
                  return {place.memory};
                });
}

TEST(GradientPlace, IsTheGradientOfALeafUntilItIsWrittenTo) {
  Found found;
  Tensor x = cleared(ones({2}));
  const Tensor memory = x.grad();
  int calls = 0;
  x.register_post_accumulate_grad_hook([&](Tensor&) { ++calls; });
  sum(scaled(x, 3, &found)).backward();
  EXPECT_EQ(found.memory, 1);
  EXPECT_TRUE(x.grad().is(memory));
  EXPECT_THAT(to_vector(memory), ElementsAre(3, 3));
  sum(scaled(x, 2, &found)).backward();
  EXPECT_EQ(found.memory, 1);
  EXPECT_THAT(to_vector(memory), ElementsAre(5, 5));
  EXPECT_EQ(calls, 2);
}

TEST(GradientPlace, IsNotWhereTheGradientIsNotWhole) {
  Found found;
  Tensor twice = cleared(ones({2}));
  sum(scaled(twice, 3, &found) + scaled(twice, 2, &found)).backward();
  EXPECT_THAT(to_vector(twice.grad()), ElementsAre(5, 5));

  Tensor hooked = cleared(ones({2}));
  hooked.register_hook([](const Tensor& gradient) { return gradient * 2.0; });
  sum(scaled(hooked, 3, &found)).backward();
  EXPECT_THAT(to_vector(hooked.grad()), ElementsAre(6, 6));

  Tensor other = cleared(ones({2}));
  other.set_grad(ones({2}));
  sum(scaled(other, 3, &found)).backward();
  EXPECT_THAT(to_vector(other.grad()), ElementsAre(4, 4));

  Tensor asked = cleared(ones({2}));
  EXPECT_THAT(to_vector(grad({sum(scaled(asked, 3, &found))}, {asked})[0]), ElementsAre(3, 3));
  EXPECT_THAT(to_vector(asked.grad()), ElementsAre(0, 0));

  const Tensor inner = cleared(ones({2})) * 1.0;
  sum(scaled(inner, 3, &found)).backward();
  EXPECT_EQ(found.memory, 0);
}

// The pass within f writes to the leaf while a gradient of the outer one is on its way.
TEST(GradientPlace, IsNotGivenTwice) {
  for (const bool outer_first : {false, true}) {
    Found found;
    Tensor x = cleared(ones({2}));
    const auto f = [&](const Tensors& in) { return in[0] * scaled(x, 3, &found); };
    const Tensor data = ones({2}).set_requires_grad();
    const Tensor before = outer_first ? Tensor() : scaled(x.to(DType::Float64), 2, &found);
    const Tensor within = checkpoint(f, {data}).to(DType::Float64);
    sum(within + (outer_first ? scaled(x.to(DType::Float64), 2, &found) : before)).backward();
    EXPECT_THAT(to_vector(x.grad()), ElementsAre(5, 5));
  }
}

TEST(GradientPlace, IsThatOfWhatWasConverted) {
  Found found;
  // 1 + 2^-12 is no bfloat16.
  Tensor x = cleared(ones({2}));
  sum(scaled(x.to(DType::BFloat16), 1 + 0x1p-12, &found).to(DType::Float32)).backward();
  EXPECT_EQ(found.dtype, DType::Float32);
  EXPECT_EQ(found.memory, 1);
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(1 + 0x1p-12, 1 + 0x1p-12));

  // The conversion's own hook is given what it was given before.
  Tensor y = cleared(ones({2}));
  const Tensor narrow = y.to(DType::BFloat16);
  narrow.register_hook([](const Tensor& gradient) {
    EXPECT_EQ(gradient.dtype(), DType::BFloat16);
    return Tensor();
  });
  sum(scaled(narrow, 3, &found)).backward();
  EXPECT_EQ(found.dtype, DType::BFloat16);
  EXPECT_EQ(found.memory, 1);
  EXPECT_THAT(to_vector(y.grad()), ElementsAre(3, 3));
}

// bfloat16 has 8 bits: of 256 + 1 + 1 each sum would be rounded to 256.
TEST(GradientPlace, GradientsOfAConversionAreAddedInItsInputsDType) {
  for (const bool wide_first : {false, true}) {
    Found found;
    const Tensor x = ones({1}).set_requires_grad();
    const Tensor narrow = x.to(DType::BFloat16);
    Tensor y = zeros({1}, {DType::BFloat16, {}});
    if (wide_first) y = y + narrow * 256.0;
    y = y + scaled(narrow, 1, &found) + scaled(narrow, 1, &found);
    if (!wide_first) y = y + narrow * 256.0;
    sum(y).backward();
    EXPECT_THAT(to_vector(x.grad()), ElementsAre(258));
  }
}

TEST(GradientPlace, AGradientThatIsGivenHasTheDTypeOfItsInput) {
  const Tensor x = ones({1}, {DType::BFloat16, {}}).set_requires_grad();
  const Tensor wide = x.to(DType::Float32);
  bool ran = false;
  const Tensor y = record("given", {wide}, wide.detach().clone(), {},
                          [&](const BackwardContext& c, const Tensor& dy) -> Tensors {
                            const Tensor given = c.take_given(0);
                            EXPECT_TRUE(!given.defined() || given.dtype() == DType::Float32);
                            ran = true;
                            return {given.defined() ? given + dy : dy};
                          });
  const Tensor narrow = record(
      "narrow", {wide}, wide.detach().clone(), {},
      [](const BackwardContext&, const Tensor& dy) -> Tensors { return {dy.to(DType::BFloat16)}; });
  sum(y + narrow).backward();
  EXPECT_TRUE(ran);
  EXPECT_THAT(to_vector(x.grad()), ElementsAre(2));
}

// ---- the ops that write there ----

// Whether loss() of parameters leaves their gradients in the memory that is cleared, with the same
// bits as without any.
void expect_written(const Tensors& parameters, const std::function<Tensor(const Tensors&)>& loss) {
  Tensors plain, flat;
  for (const Tensor& parameter : parameters) {
    plain.push_back(parameter.clone().set_requires_grad());
    flat.push_back(cleared(parameter));
    flat.back().grad().fill_(7);  // a gradient that is added, not written, shows
  }
  loss(plain).backward();
  loss(flat).backward();
  for (size_t i = 0; i < parameters.size(); ++i)
    EXPECT_EQ(to_vector(flat[i].grad()), to_vector(plain[i].grad())) << i;
}

TEST(GradientPlace, TakesTheGradientsOfLinearLayers) {
  const Tensor x = randn({6, 5});
  expect_written({randn({4, 5}), randn({4})},
                 [&](const Tensors& in) { return sum(square(linear(x, in[0], in[1]))); });
  expect_written({randn({4, 5})}, [&](const Tensors& in) { return sum(square(linear(x, in[0]))); });
}

TEST(GradientPlace, TakesTheGradientsOfAFeedForwardLayer) {
  const Tensor x = randn({6, 5});
  expect_written({randn({8, 5}), randn({5, 8}), randn({5})}, [&](const Tensors& in) {
    return sum(square(gelu_mlp(x, in[0], zeros({8}), in[1], in[2], GeluForm::Tanh)));
  });
}

TEST(GradientPlace, TakesTheGradientsOfNorms) {
  const Tensor x = randn({6, 5}), stream = randn({6, 5});
  expect_written({randn({5}), randn({5})},
                 [&](const Tensors& in) { return sum(square(layer_norm(x, in[0], in[1], 1e-5))); });
  expect_written({randn({5}), randn({5})}, [&](const Tensors& in) {
    return sum(square(add_layer_norm(x, stream, in[0], in[1], 1e-5).normed));
  });
  expect_written({randn({5})},
                 [&](const Tensors& in) { return sum(square(rms_norm(x, in[0], 1e-5))); });
}

TEST(GradientPlace, EmbeddingAddsToItsZeros) {
  Tensor table = cleared(ones({3, 2}));
  const Tensor memory = table.grad();
  sum(embedding(table, from_values<int64_t>({2, 0, 2}, {3}))).backward();
  EXPECT_TRUE(table.grad().is(memory));
  EXPECT_THAT(to_vector(memory), ElementsAre(1, 1, 0, 0, 2, 2));
}

TEST(GradientPlace, OfABFloat16ProductOnTheCpuIsNotFloat32) {
  const Tensor x = randn({6, 5});
  Tensor weight = cleared(randn({4, 5}));
  const AutocastGuard guard(DType::BFloat16);
  sum(linear(x, weight)).backward();
  EXPECT_EQ(weight.grad().dtype(), DType::Float32);
  EXPECT_EQ(to_vector(weight.grad()),
            to_vector(weight.grad().to(DType::BFloat16).to(DType::Float32)));
}

// ---- the gradient that a pass starts with ----

TEST(StartsWithOne, WhereBackwardIsGivenNoGradient) {
  std::vector<bool> seen;
  const Tensor x = ones({}).set_requires_grad();
  const auto loss = [&] {
    return record("loss", {x}, x.detach().clone(), {},
                  [&](const BackwardContext& c, const Tensor& dy) -> Tensors {
                    seen.push_back(c.starts_with_one());
                    return {dy};
                  });
  };
  loss().backward();
  loss().backward(ones({}));
  (loss() * 2.0).backward();
  const Tensor hooked = loss();
  hooked.register_hook([](const Tensor& gradient) { return gradient * 2.0; });
  hooked.backward();
  const Tensor twice = loss();
  backward({twice, twice * 1.0});
  EXPECT_THAT(seen, ElementsAre(true, false, false, false, false));
}

TEST(MarkGradCleared, TakesLeavesWithAGradient) {
  EXPECT_THROW(mark_grad_cleared(ones({2}).set_requires_grad()), Error);
  EXPECT_THROW(mark_grad_cleared(ones({2}).set_requires_grad() * 1.0), Error);
}

}  // namespace
}  // namespace plinth
