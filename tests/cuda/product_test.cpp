// Matrix products of tensors on a GPU, beyond the op table.

#include <gtest/gtest.h>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/mlp.h"
#include "core/ops/product.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "core/stream.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

class DeviceProduct : public OnDevice {};

Tensor operand(const Shape& shape, uint32_t number, DType dtype = DType::Float32) {
  return uniform(shape, -1, 1, {.seed = 5, .op = number}).to(dtype);
}

double largest_difference(const Tensor& a, const Tensor& b) {
  const auto x = to_vector(a), y = to_vector(b);
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest;
}

TEST_F(DeviceProduct, OfNarrowOperandsGoesUnroundedToFloat32) {
  const Tensor a = operand({1, 33, 70}, 0, DType::BFloat16),
               b = operand({1, 70, 19}, 1, DType::BFloat16);
  const Tensor exact = matmul(a.to(DType::Float64), b.to(DType::Float64));
  const Tensor c = Tensor::empty({1, 33, 19}, {DType::Float32, kDevice});
  multiply(a.to(kDevice), b.to(kDevice), {}, c, "test");
  EXPECT_LT(largest_difference(c, exact), 1e-5);
  multiply_add(a.to(kDevice), b.to(kDevice), c, "test");
  EXPECT_LT(largest_difference(c, exact * 2.0), 2e-5);
}

TEST_F(DeviceProduct, ReadsTransposedAndStridedOperands) {
  const Tensor wide = operand({2, 24, 40}, 2), other = operand({2, 40, 24}, 3);
  const Tensor a = wide.narrow(2, 4, 16), b = other.narrow(1, 8, 12).transpose(1, 2);
  const Tensor there = matmul(wide.to(kDevice).narrow(2, 4, 16).transpose(1, 2),
                              other.to(kDevice).narrow(1, 8, 12).transpose(1, 2));
  EXPECT_LT(largest_difference(there, matmul(a.transpose(1, 2), b)), 1e-5);
}

// The head's weight gradient is added up over chunks of rows in float32.
TEST_F(DeviceProduct, HeadOfBFloat16KeepsAFloat32WeightGradient) {
  const Tensor x = operand({40, 16}, 4, DType::BFloat16), w = operand({50, 16}, 5, DType::BFloat16);
  const Tensor target = arange(0, 40, 1, {DType::Int64, {}});
  const auto gradients = [&](Device device, DType dtype) {
    Tensor rows = x.to(dtype).to(device).set_requires_grad();
    Tensor head = w.to(dtype).to(device).set_requires_grad();
    linear_cross_entropy(rows, head, target.to(device)).backward();
    return Tensors{rows.grad(), head.grad()};
  };
  const Tensors exact = gradients(Device{}, DType::Float64);
  const Tensors narrow = gradients(kDevice, DType::BFloat16);
  for (int i = 0; i < 2; ++i) EXPECT_LT(largest_difference(narrow[i], exact[i]), 2e-4);
}

// In chunks of 128 rows, the last of them shorter.
TEST_F(DeviceProduct, HeadInSeveralChunksGivesWhatOneDoes) {
  const Tensor x = operand({300, 16}, 4), w = operand({50, 16}, 5);
  const auto run = [&](Device device, DType dtype, int64_t logits) {
    Tensor rows = x.to(dtype).to(device).set_requires_grad();
    Tensor head = w.to(dtype).to(device).set_requires_grad();
    Tensor classes = Tensor::empty({300}, {DType::Int64, {}});
    for (int64_t i = 0; i < 300; ++i) classes.data<int64_t>()[i] = i * 7 % 50;
    const Tensor loss = linear_cross_entropy(rows, head, classes.to(device),
                                             {.ignore_index = 3, .logits_at_once = logits});
    loss.backward();
    return Tensors{loss.detach(), rows.grad(), head.grad()};
  };
  const Tensors exact = run(Device{}, DType::Float64, 1);
  for (const int64_t logits : {int64_t{1}, int64_t{2 * 128 * 64}, int64_t{1} << 28}) {
    const Tensors there = run(kDevice, DType::Float32, logits);
    for (size_t i = 0; i < there.size(); ++i)
      EXPECT_LT(largest_difference(there[i], exact[i]), 1e-5) << i;
  }
}

// The sums of a weight's gradient are float32: rounded to bfloat16 on the way they would be off by
// up to a 256th of themselves.
TEST_F(DeviceProduct, AutocastLeavesWeightGradientsUnrounded) {
  const Tensor x = operand({40, 16}, 14, DType::BFloat16);
  const Tensor y = operand({40, 24}, 15, DType::BFloat16);  // the gradient of the result
  const Tensor exact_weight = matmul(y.to(DType::Float64).transpose(0, 1), x.to(DType::Float64));
  const Tensor exact_bias = sum(y.to(DType::Float64), {0});
  for (const bool is_cleared : {false, true}) {
    Tensor weight = operand({24, 16}, 16).to(kDevice).set_requires_grad();
    Tensor bias = operand({24}, 17).to(kDevice).set_requires_grad();
    for (Tensor* leaf : {&weight, &bias}) {
      leaf->set_grad(zeros(leaf->shape(), leaf->options()));
      if (is_cleared) mark_grad_cleared(*leaf);
    }
    const Tensor memory = weight.grad();
    const AutocastGuard guard(DType::BFloat16);
    linear(x.to(kDevice), weight, bias).backward(y.to(kDevice));
    EXPECT_TRUE(weight.grad().is(memory));
    EXPECT_LT(largest_difference(weight.grad(), exact_weight), 1e-5);
    EXPECT_LT(largest_difference(bias.grad(), exact_bias), 1e-5);
  }
}

TEST_F(DeviceProduct, GivesTheSameBitsTwice) {
  const Tensor x = operand({3, 70, 64}, 6, DType::BFloat16).to(kDevice);
  const Tensor w = operand({48, 64}, 7, DType::BFloat16).to(kDevice);
  const Tensor bias = operand({48}, 8, DType::BFloat16).to(kDevice);
  const auto run = [&] {
    Tensors leaves = {x.clone(), w.clone(), bias.clone()};
    for (Tensor& leaf : leaves) leaf.set_requires_grad();
    const Tensor y = linear(leaves[0], leaves[1], leaves[2]);
    sum(y * y).backward();
    return Tensors{y.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
  };
  const Tensors first = run(), second = run();
  for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(to_vector(first[i]), to_vector(second[i]));
}

TEST_F(DeviceProduct, FeedForwardLayerHasSecondDerivatives) {
  const auto run = [](Device device) {
    Tensors leaves = {operand({3, 4}, 9), operand({8, 4}, 10), operand({8}, 11),
                      operand({5, 8}, 12), operand({5}, 13)};
    for (Tensor& leaf : leaves) leaf = leaf.to(device).set_requires_grad();
    const Tensor y =
        gelu_mlp(leaves[0], leaves[1], leaves[2], leaves[3], leaves[4], GeluForm::Tanh);
    const Tensor slope = grad({sum(y * y)}, {leaves[0]}, {}, {.create_graph = true})[0];
    sum(slope * slope).backward();
    Tensors gradients;
    for (const Tensor& leaf : leaves) gradients.push_back(leaf.grad());
    return gradients;
  };
  const Tensors there = run(kDevice), here = run(Device{});
  for (size_t i = 0; i < here.size(); ++i)
    EXPECT_LT(largest_difference(there[i], here[i]), 1e-3) << i;
}

#ifdef PLINTH_EMULATE
TEST_F(DeviceProduct, RoundsToTf32OnlyWhereThatIsAllowed) {
  Tensor a = ones({1, 1}, {DType::Float32, kDevice}) + 0x1p-12;
  EXPECT_EQ(matmul(a, ones({1, 1}, a.options())).item(), 1 + 0x1p-12);
  set_allow_tf32(true);
  EXPECT_EQ(matmul(a, ones({1, 1}, a.options())).item(), 1);
  set_allow_tf32(false);
}
#endif

}  // namespace
}  // namespace plinth
