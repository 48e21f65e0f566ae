// Losses times a constant, as training in float16 has them so that small gradients stay in range.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "each_device.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

class ScaledLoss : public EachDevice {};

// The gradients of x and weight, of the loss times `scale`, over `scale`.
std::vector<std::vector<double>> head_gradients(const Tensor& x, const Tensor& weight,
                                                const Tensor& target, double scale,
                                                Reduction reduction) {
  const Tensors leaves = {x.detach().set_requires_grad(), weight.detach().set_requires_grad()};
  const Tensor loss = linear_cross_entropy(leaves[0], leaves[1], target, {.reduction = reduction});
  std::vector<std::vector<double>> all;
  for (const Tensor& gradient : grad({loss * scale}, leaves)) {
    all.push_back(to_vector(gradient));
    for (double& value : all.back()) value /= scale;
  }
  return all;
}

// Differences over the largest value.
void expect_near(const std::vector<double>& actual, const std::vector<double>& expected,
                 double bound) {
  ASSERT_EQ(actual.size(), expected.size());
  double most = 0;
  for (const double value : expected) most = std::max(most, std::fabs(value));
  for (size_t i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], bound * most) << "element " << i;
}

// The mean's factor alone puts a gradient of float16 below its smallest number; a scale is to bring
// it back, and not to scale what is lost already.
TEST_P(ScaledLoss, AFloat16HeadKeepsSmallGradients) {
  constexpr int64_t kRows = 512, kDim = 16, kVocabulary = 40;
  Sampler sample;
  const Tensor x = sample({kRows, kDim}).to(DType::Float16),
               weight = (sample({kVocabulary, kDim}) * 1e-3).to(DType::Float16);
  std::vector<int64_t> classes(kRows);
  for (size_t i = 0; i < classes.size(); ++i) classes[i] = static_cast<int64_t>(i) % kVocabulary;
  const Tensor target = from_values(classes, {kRows});
  const auto expected =
      head_gradients(x.to(DType::Float64), weight.to(DType::Float64), target, 1, Reduction::Mean);
  for (const Reduction reduction : {Reduction::Mean, Reduction::Sum}) {
    const bool is_mean = reduction == Reduction::Mean;
    const auto actual =
        head_gradients(x.to(GetParam()), weight.to(GetParam()), target.to(GetParam()),
                       is_mean ? 65536 : 65536.0 / kRows, reduction);
    for (size_t i = 0; i < expected.size(); ++i) {
      SCOPED_TRACE(testing::Message() << (is_mean ? "mean, " : "sum, ") << (i ? "weight" : "x"));
      std::vector<double> values = actual[i];
      for (double& value : values) value /= is_mean ? 1 : kRows;
      expect_near(values, expected[i], 0x1p-9);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, ScaledLoss, testing::Values(Device{}));
INSTANTIATE_TEST_SUITE_P(Gpu, ScaledLoss, testing::Values(Device{DeviceType::CUDA, 0}));

}  // namespace
}  // namespace plinth::op_table
