// Norms of float32 whose result is narrower: what the table's rows, of one dtype, leave out.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/normalization.h"
#include "core/ops/views.h"
#include "each_device.h"
#include "op_table.h"
#include "tests/core/additions.h"

namespace plinth::op_table {
namespace {

struct NarrowNorm {
  bool layer, residual;
  DType out;
};

class NarrowNormalization : public EachDevice {
 protected:
  Tensor leaf(const Tensor& x, DType dtype = DType::Float32) const {
    return x.to(dtype).to(GetParam()).detach().set_requires_grad();
  }

  // {x, residual, weight, bias}, x being of `dtype`.
  Tensors inputs(const Shape& shape, DType dtype) const {
    Sampler sample;
    return {leaf(sample(shape), dtype), leaf(sample(shape)), leaf(sample({shape.back()}, 0.5, 1.5)),
            leaf(sample({shape.back()}))};
  }
};

Tensors call(const NarrowNorm& norm, const Tensors& in, std::optional<DType> out) {
  if (norm.residual) {
    const AddNorm both = norm.layer ? add_layer_norm(in[0], in[1], in[2], in[3], 1e-5, out)
                                    : add_rms_norm(in[0], in[1], in[2], 1e-5, out);
    return {both.sum, both.normed};
  }
  return {norm.layer ? layer_norm(in[0], in[2], in[3], 1e-5, out)
                     : rms_norm(in[0], in[2], 1e-5, out)};
}

// Results of call(), then the gradients of the inputs that it takes, for slopes of its results.
Tensors with_gradients(const NarrowNorm& norm, const Tensors& in, const Tensors& outputs) {
  Tensors taken = {in[0], in[2]};
  if (norm.residual) taken.push_back(in[1]);
  if (norm.layer) taken.push_back(in[3]);
  Sampler sample;
  Tensors slopes;
  for (const Tensor& output : outputs)
    slopes.push_back(sample(output.shape()).to(output.dtype()).to(output.device()));
  const Tensors gradients = grad(outputs, taken, slopes);
  Tensors all = outputs;
  all.insert(all.end(), gradients.begin(), gradients.end());
  return all;
}

// The CPU's are the same bits; a GPU's compiler may fuse other products with their sums.
void expect_same(const Tensors& actual, const Tensors& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i].dtype(), expected[i].dtype()) << i;
    const bool is_cpu = actual[i].device().is_cpu();
    const double step = actual[i].dtype() == DType::Float32 ? 1e-5 : 0x1p-7;
    const std::vector<double> a = to_vector(actual[i]), b = to_vector(expected[i]);
    ASSERT_EQ(a.size(), b.size());
    for (size_t j = 0; j < a.size(); ++j)
      ASSERT_NEAR(a[j], b[j], is_cpu ? 0 : step * (1 + std::fabs(b[j]))) << i << ", element " << j;
  }
}

const NarrowNorm kNorms[] = {
    {false, false, DType::BFloat16}, {true, false, DType::BFloat16}, {true, false, DType::Float16},
    {false, true, DType::BFloat16},  {true, true, DType::BFloat16},  {false, true, DType::Float16},
};
const Shape kNormShapes[] = {{3, 5}, {2, 4, 64}, {0, 4}, {70, 129}, {3, 1032}};

TEST_P(NarrowNormalization, IsANormAndConversions) {
  for (const NarrowNorm& norm : kNorms) {
    for (const Shape& shape : kNormShapes) {
      SCOPED_TRACE(testing::Message() << norm.layer << norm.residual << shape);
      const Tensors in = inputs(shape, norm.residual ? norm.out : DType::Float32);
      const Tensors actual = with_gradients(norm, in, call(norm, in, norm.out));
      Tensors wide = in;
      wide[0] = in[0].to(DType::Float32);
      Tensors outputs = call(norm, wide, {});
      outputs.back() = outputs.back().to(norm.out);
      expect_same(actual, with_gradients(norm, in, outputs));
    }
  }
}

TEST_P(NarrowNormalization, DoesNotRoundAWideBranch) {
  for (const bool layer : {false, true}) {
    const NarrowNorm norm{layer, true, DType::BFloat16};
    const Tensors in = inputs({4, 33}, DType::Float32);
    Tensors outputs = call(norm, in, {});
    outputs.back() = outputs.back().to(norm.out);
    const Tensors expected = with_gradients(norm, in, outputs);
    expect_same(with_gradients(norm, in, call(norm, in, norm.out)), expected);
  }
}

TEST_P(NarrowNormalization, GivesTheGradientsThatAreWanted) {
  for (const bool layer : {false, true}) {
    const NarrowNorm norm{layer, true, DType::BFloat16};
    const Tensors in = inputs({4, 33}, DType::BFloat16);
    const Tensors outputs = call(norm, in, norm.out);
    const Tensors slopes = {ones_like(outputs[0]), ones_like(outputs[1])};
    const Tensors both = grad(outputs, {in[0], in[1]}, slopes, {.retain_graph = true});
    for (const size_t only : {0, 1}) {
      Tensors cut = in;
      for (size_t i = 0; i < cut.size(); ++i)
        if (i != only) cut[i] = in[i].detach();
      const Tensors alone = grad(call(norm, cut, norm.out), {cut[only]}, slopes);
      EXPECT_EQ(to_vector(alone[0]), to_vector(both[only]));
      EXPECT_EQ(alone[0].dtype(), in[only].dtype());
    }
    // Without a gradient of the sum's own.
    const Tensors of_normed = grad({outputs[1]}, {in[0]}, {slopes[1]});
    EXPECT_EQ(of_normed[0].dtype(), DType::BFloat16);
  }
}

// Of a stream that goes past the norm too.
TEST_P(NarrowNormalization, AddsWhatTheStreamWasGiven) {
  for (const bool layer : {false, true}) {
    for (const DType out : {DType::Float32, DType::BFloat16}) {
      const NarrowNorm norm{layer, false, out};
      Tensors in = inputs({70, 129}, DType::Float32);
      const Tensor x = in[0];
      in[0] = x * 1.0;  // no leaf
      const Tensor normed = call(norm, in, out)[0], beside = in[0] * 3.0;
      Sampler sample;
      const Tensor past = sample(x.shape()).to(DType::Float32).to(x.device());
      const Tensor slope = sample(x.shape()).to(out).to(x.device());
      const GradOptions again{.retain_graph = true};
      const Tensor alone = grad({normed}, {x}, {slope}, again)[0];
      const std::vector<double> expected = to_vector(alone + past * 3.0);
      for (const Tensor& of : {x, in[0]}) {
        const Additions additions;
        const Tensor both = grad({normed, beside}, {of}, {slope, past}, again)[0];
        EXPECT_EQ(additions.count, 0);
        EXPECT_THAT(to_vector(both), testing::Pointwise(testing::DoubleNear(1e-5), expected));
      }
    }
  }
}

TEST_P(NarrowNormalization, UnderAutocastTakesTheBranchAsItIs) {
  for (const bool layer : {false, true}) {
    const NarrowNorm norm{layer, true, DType::BFloat16};
    const Tensors in = inputs({4, 33}, DType::BFloat16);
    const Tensors expected = with_gradients(norm, in, call(norm, in, norm.out));
    const AutocastGuard guard(DType::BFloat16);
    expect_same(with_gradients(norm, in, call(norm, in, norm.out)), expected);
  }
}

TEST_P(NarrowNormalization, RefusesASecondDerivative) {
  for (const NarrowNorm& norm : kNorms) {
    const Tensors in = inputs({3, 8}, norm.residual ? norm.out : DType::Float32);
    const Tensors outputs = call(norm, in, norm.out);
    const Tensor slope = ones_like(outputs.back());
    const Tensors first = grad({outputs.back()}, {in[0]}, {slope}, {.create_graph = true});
    try {
      grad({first[0]}, {in[0]}, {ones_like(first[0])});
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("norm_backward"));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, NarrowNormalization, testing::Values(Device{}));
INSTANTIATE_TEST_SUITE_P(Gpu, NarrowNormalization, testing::Values(Device{DeviceType::CUDA, 0}));

}  // namespace
}  // namespace plinth::op_table
