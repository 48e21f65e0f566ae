// Tensors on a GPU, beyond the op table: moving there and back, and training a small network.

#include "core/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/error.h"
#include "core/gradcheck.h"
#include "core/ops/activation.h"
#include "core/ops/attention.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/ops/softmax.h"
#include "core/ops/views.h"
#include "core/stream.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

class DeviceTensor : public OnDevice {};

TEST_F(DeviceTensor, GoesThereAndBack) {
  const Tensor x = uniform_values({3, 5}, 0);
  const Tensor there = x.to(kDevice);
  EXPECT_EQ(there.device(), kDevice);
  EXPECT_EQ(to_vector(there), to_vector(x));
  EXPECT_EQ(to_vector(there.transpose(0, 1).to(Device{})), to_vector(x.transpose(0, 1)));
  EXPECT_EQ(there.select(1, 4).select(0, 2).item(), x.select(1, 4).select(0, 2).item());
  EXPECT_EQ(to_string(there), to_string(x));
}

#ifdef PLINTH_EMULATE
TEST_F(DeviceTensor, OutOfMemoryNamesTheOpsThatHoldIt) {
  limit_memory(int64_t{64} << 20);
  const Tensor x = uniform_values({1024, 4096}, 7).to(kDevice);  // 16 MiB
  const Tensor squares[] = {square(x), square(x), square(x)};
  try {
    softmax(x, 1);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::OutOfMemory);
    EXPECT_THAT(error.what(), testing::HasSubstr("held by square 48 MiB in 3, to 16 MiB in 1"));
  }
}
#endif

TEST_F(DeviceTensor, GradientsComeBackToWhereTheLeafLives) {
  const Tensor x = uniform_values({4}, 1).set_requires_grad();
  sum(square(x.to(kDevice))).to(Device{}).backward();
  EXPECT_EQ(x.grad().device(), Device{});
  EXPECT_EQ(to_vector(x.grad()), to_vector(x.detach() * 2));
}

TEST_F(DeviceTensor, CopyCrossesDevices) {
  const Tensor x = uniform_values({2, 3}, 2);
  Tensor there = zeros({3, 2}, {DType::Float64, kDevice});
  there.transpose(0, 1).copy_(x);
  EXPECT_EQ(to_vector(there.transpose(0, 1)), to_vector(x));
  Tensor here = zeros({2, 3});
  here.copy_(there.transpose(0, 1));
  EXPECT_EQ(to_vector(here), to_vector(x));
}

TEST_F(DeviceTensor, FactoriesGiveWhatTheyGiveOnTheCpu) {
  for (const DType dtype : {DType::Float64, DType::Float32, DType::BFloat16, DType::Int64}) {
    const TensorOptions there{dtype, kDevice}, here{dtype, {}};
    EXPECT_EQ(to_vector(zeros({7}, there)), to_vector(zeros({7}, here)));
    EXPECT_EQ(to_vector(full({7}, 3.7, there)), to_vector(full({7}, 3.7, here)));
    EXPECT_EQ(to_vector(arange(-2, 9, 3, there)), to_vector(arange(-2, 9, 3, here)));
    EXPECT_EQ(to_vector(eye(3, there)), to_vector(eye(3, here)));
  }
  EXPECT_EQ(to_vector(normal({9}, 1, 2, {.seed = 5}, {DType::Float32, kDevice})),
            to_vector(normal({9}, 1, 2, {.seed = 5})));
}

TEST_F(DeviceTensor, OperandsOnTwoDevicesAreAnError) {
  const Tensor here = uniform_values({2, 2}, 3), there = here.to(kDevice);
  const std::vector<std::pair<const char*, std::function<void()>>> calls = {
      {"add", [&] { add(here, there); }},
      {"eq", [&] { eq(there, here); }},
      {"where", [&] { where(gt(there, 0.0), here, here); }},
      {"matmul", [&] { matmul(here, there); }},
      {"linear", [&] { linear(there, here); }},
      {"cat",
       [&] {
         cat({here, there}, 0);
       }},
      {"add_", [&] { there.clone().add_(here); }},
      {"mul_", [&] { there.clone().mul_(here); }},
      {"embedding",
       [&] {
         embedding(there, zeros({2}, {DType::Int64, {}}));
       }},
      {"gather",
       [&] {
         gather(there, 0, zeros({2, 2}, {DType::Int64, {}}));
       }},
      {"cross_entropy",
       [&] {
         cross_entropy(there, zeros({2}, {DType::Int64, {}}));
       }},
      {"attention_gradients",
       [&] {
         const Tensor heads = there.reshape({1, 1, 2, 2});
         attention_gradients(heads, heads, heads, heads, heads, zeros({1, 1, 2}));
       }},
  };
  for (const auto& [op, call] : calls) {
    try {
      call();
      ADD_FAILURE() << op << " took operands of two devices";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Device) << error.what();
      EXPECT_THAT(error.what(), testing::StartsWith(op));
    }
  }
}

TEST_F(DeviceTensor, AttentionRefusesHeadsThatNoKernelHolds) {
  const Tensor q = zeros({1, 1, 2, 257}).to(kDevice);
  try {
    attention(q, q, q);
    ADD_FAILURE() << "took a head_dim of 257";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "attention: q has head_dim 257, expected at most 256 on a GPU");
  }
}

TEST_F(DeviceTensor, GradcheckTakesTensorsOfAGpu) {
  const Tensor x = uniform_values({2, 3}, 4).to(DType::Float64).to(kDevice).set_requires_grad();
  const auto good = [](const Tensors& in) { return Tensors{silu(in[0]) * in[0]}; };
  EXPECT_EQ(gradcheck(good, {x}), "");
  const auto wrong = [](const Tensors& in) { return Tensors{in[0] * in[0].detach()}; };
  EXPECT_THAT(gradcheck(wrong, {x}), testing::HasSubstr("gradient of input 0, element 0"));
}

// Loss and gradients of a network with an embedding, two layers and the fused head.
std::vector<std::vector<double>> network(Device device) {
  const Tensor ids = from_values<int64_t>(std::vector<int64_t>{3, 1, 4, 1, 5}, {5}).to(device);
  const Tensor target =
      from_values<int64_t>(std::vector<int64_t>{1, 4, 1, -100, 2}, {5}).to(device);
  Tensors leaves;
  uint32_t number = 10;
  for (const Shape& shape : {Shape{6, 8}, Shape{16, 8}, Shape{16}, Shape{8, 16}, Shape{6, 8}})
    leaves.push_back(uniform_values(shape, number++).to(device).set_requires_grad());
  const Tensor hidden = gelu(linear(embedding(leaves[0], ids), leaves[1], leaves[2]));
  const Tensor loss = linear_cross_entropy(linear(hidden, leaves[3]), leaves[4], target);
  loss.backward();
  std::vector<std::vector<double>> results = {to_vector(loss.detach())};
  for (const Tensor& leaf : leaves) results.push_back(to_vector(leaf.grad()));
  return results;
}

TEST_F(DeviceTensor, ANetworksGradientsAreTheCpus) {
  const auto there = network(kDevice), here = network({});
  for (size_t i = 0; i < here.size(); ++i)
    EXPECT_THAT(there[i], testing::Pointwise(testing::DoubleNear(2e-6), here[i])) << i;
  EXPECT_EQ(network(kDevice), there) << "the same bits in every run";
}

}  // namespace
}  // namespace plinth
