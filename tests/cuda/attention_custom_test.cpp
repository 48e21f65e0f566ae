// Masks and changes of scores of the caller's own on a GPU's tensors, as the CPU computes them.

#include <gmock/gmock.h>

#include <cmath>

#include "core/autograd.h"
#include "core/gradcheck.h"
#include "core/ops/factories.h"
#include "tests/core/io/expect_error.h"
#include "tests/cuda/attention_functors.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

class DeviceAttentionCustom : public OnDevice {};

Tensor sample(const Shape& shape, uint32_t number) {
  return uniform(shape, -1, 1, {.seed = 8, .op = number});
}

// q, k, v, and where wanted bias and sinks, on the CPU.
Tensors inputs(int64_t batch, bool extras) {
  Tensors in = {sample({batch, 2, 40, 64}, 0), sample({batch, 1, 135, 64}, 1),
                sample({batch, 1, 135, 64}, 2)};
  if (extras) {
    in.push_back(sample({1, 2, 1, 135}, 3));
    in.push_back(sample({2}, 4));
  }
  return in;
}

// out, lse, and the gradients, on the CPU.
Tensors results_on(Device device, DType dtype, const Tensors& inputs, AttentionOptions options) {
  Tensors in;
  for (const Tensor& x : inputs) {
    const DType kept = x.dim() == 1 ? x.dtype() : dtype;  // sinks
    in.push_back(x.to(kept).to(device).detach().set_requires_grad());
  }
  if (in.size() > 3) options.bias = in[3], options.sinks = in[4];
  options.custom = bent_prefix(in[0], in[1], options);
  const AttentionResult result = attention_with_lse(in[0], in[1], in[2], options);
  const Tensors dy = {sample(result.out.shape(), 5).to(dtype).to(device),
                      sample(result.lse.shape(), 6).to(device)};
  Tensors all = grad({result.out, result.lse}, in, dy);
  all.push_back(result.out);
  all.push_back(result.lse);
  all.push_back(attention_weights(in[0], in[1], options, {1, 0}, {0, 39}));
  for (Tensor& x : all) x = x.detach().to(Device{});
  return all;
}

// Errors of float32 are of its sums, those of bfloat16 of its own rounding.
void expect_same(const Tensors& actual, const Tensors& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    SCOPED_TRACE(i);
    const std::vector<double> a = to_vector(actual[i]), e = to_vector(expected[i]);
    double size = 1;
    for (const double value : e) size = std::max(size, std::fabs(value));
    EXPECT_THAT(a, testing::Pointwise(testing::DoubleNear(tolerance * size), e));
  }
}

void expect_as_on_cpu(const Tensors& in, const AttentionOptions& options) {
  const Tensors expected = results_on(Device{}, DType::Float32, in, options);
  expect_same(results_on(kDevice, DType::Float32, in, options), expected, 2e-5);
  Tensors rounded;
  for (const Tensor& x : in) {
    rounded.push_back(x.dim() == 1 ? x : x.to(DType::BFloat16).to(DType::Float32));
  }
  expect_same(results_on(kDevice, DType::BFloat16, rounded, options),
              results_on(Device{}, DType::Float32, rounded, options), 0x1p-6);
}

TEST_F(DeviceAttentionCustom, ComputesAsOnTheCpu) {
  expect_as_on_cpu(inputs(2, true), {.causal = true, .soft_cap = 2});
}

TEST_F(DeviceAttentionCustom, ComputesPackedSequencesAsOnTheCpu) {
  expect_as_on_cpu(inputs(1, false), {.cu_seqlens_q = from_values<int64_t>({0, 5, 40}, {3}),
                                      .cu_seqlens_k = from_values<int64_t>({0, 71, 135}, {3})});
}

struct OfTheCpu {
  bool visible(const AttentionPair& at) const { return at.key <= at.query; }
};

TEST_F(DeviceAttentionCustom, NamesWhatItIsNotCompiledFor) {
  const Tensors in = inputs(1, false);
  const Tensor q = in[0].to(kDevice), k = in[1].to(kDevice);
  EXPECT_EQ(message_of([&] { custom_attention(OfTheCpu{}, q, k); }),
            "custom_attention: q is on cuda:0, but the functor is compiled for the CPU alone; "
            "expected the call in a .cu file that includes kernels/attention/custom_cuda.cuh");
  const auto call = [&](const Tensor& a, const Tensor& b, const auto& custom) {
    return message_of([&] { attention(a, b, b, {.custom = custom}); });
  };
  const auto there = bent_prefix(q, k);
  EXPECT_EQ(call(q, k, bent_prefix(in[0], in[1])),
            "attention: custom was made for cpu, expected cuda:0 (that of q)");
  EXPECT_EQ(call(in[0], in[1], there),
            "attention: custom was made for cuda:0, expected cpu (that of q)");
  EXPECT_EQ(call(q.to(DType::Float16), k.to(DType::Float16), there),
            "attention: custom is compiled without float16, that of q; expected it among its "
            "OnlyTypes");
  EXPECT_EQ(call(q.narrow(3, 0, 32), k.narrow(3, 0, 32), there),
            "attention: custom is compiled without head_dim 32, that of q; expected it among its "
            "kOnlyHeadDims");
  const auto packed = [](int64_t middle) {
    return AttentionOptions{.cu_seqlens_q = from_values<int64_t>({0, middle, 40}, {3}),
                            .cu_seqlens_k = from_values<int64_t>({0, 71, 135}, {3})};
  };
  AttentionOptions others = packed(6);
  others.custom = bent_prefix(q, k, packed(5));
  EXPECT_EQ(message_of([&] { attention(q, k, k, others); }),
            "attention: custom was made for cu_seqlens_q[1] = 5 and cu_seqlens_k[1] = 71, expected "
            "6 and 71");
  EXPECT_EQ(call(q, k.narrow(2, 0, 134), there),
            "attention: custom was made for [1, 2, 40, 135], expected [1, 2, 40, 134] (batch or "
            "sequences, heads, queries, keys)");
}

}  // namespace
}  // namespace plinth
