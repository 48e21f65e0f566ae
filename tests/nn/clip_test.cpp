#include "nn/clip.h"

#include <limits>

#include "core/autograd.h"
#include "tests/nn/optim_testing.h"

namespace plinth::nn {
namespace {

using testing::HasSubstr;

TEST(Clip, NormIsThatOfAllGradients) {
  Tensors parameters;
  for (const auto dtype : {DType::Float64, DType::Float32, DType::BFloat16, DType::Float16}) {
    Tensor parameter = zeros({2, 2}, {dtype, {}}).set_requires_grad();
    parameter.set_grad(full({2, 2}, 1.5, {dtype, {}}));
    parameters.push_back(parameter);
  }
  parameters.push_back(zeros({3}).set_requires_grad());  // without a gradient
  EXPECT_DOUBLE_EQ(grad_norm(parameters), std::sqrt(16 * 1.5 * 1.5));
  EXPECT_EQ(grad_norm({}), 0);
}

// Parts that end with whole chunks give the whole's sum, bit for bit.
TEST(Clip, SumsOfChunksAddUpToTheWhole) {
  for (const auto dtype : {DType::Float64, DType::Float32, DType::BFloat16, DType::Float16}) {
    const int64_t chunk = norm_chunk({}), size = 5 * chunk / 2;
    const Tensor whole = values({size}, 3, {dtype, {}});
    const Tensor sums = zeros({3}, kFloat64);
    Tensor(sums.narrow(0, 0, 1)).copy_(chunk_sums_of_squares(whole.narrow(0, 0, chunk)));
    Tensor(sums.narrow(0, 1, 2)).copy_(chunk_sums_of_squares(whole.narrow(0, chunk, size - chunk)));
    EXPECT_EQ(std::sqrt(sum_of_chunks(sums)), global_norm({whole}));
  }
  EXPECT_EQ(sum_of_chunks(zeros({0}, kFloat64)), 0);
}

TEST(Clip, StridedGradientsCount) {
  Tensor parameter = zeros({3, 2}).set_requires_grad();
  parameter.set_grad(from_values({1.f, 2.f, 3.f, 4.f, 5.f, 6.f}, {2, 3}).transpose(0, 1));
  EXPECT_DOUBLE_EQ(grad_norm({parameter}), std::sqrt(91.0));
}

TEST(Clip, ScalesDownToTheLimitOnly) {
  Tensor parameter = zeros({2}, kFloat64).set_requires_grad();
  parameter.set_grad(from_values({3.0, 4.0}, {2}));
  EXPECT_DOUBLE_EQ(clip_grad_norm({parameter}, 10), 5);
  EXPECT_THAT(to_vector(parameter.grad()), testing::ElementsAre(3, 4));
  EXPECT_DOUBLE_EQ(clip_grad_norm({parameter}, 1), 5);
  expect_close(parameter.grad(), {3 / (5 + 1e-6), 4 / (5 + 1e-6)}, 1e-15);
}

TEST(Clip, ZeroLimitStandsForNone) {
  EXPECT_EQ(clip_factor(5, 0), 1);
  EXPECT_THAT(message_of([] { clip_factor(5, -1); }), HasSubstr("max_norm is -1"));
}

TEST(Clip, NonFiniteNormIsReportedAndChangesNothing) {
  for (const double bad : {std::numeric_limits<double>::infinity(), std::nan("")}) {
    ParameterGroup group = leaves({{3}, {2}});
    set_gradients(group, 0);
    group.parameters[1].tensor.grad().fill_(bad);
    const Tensors parameters = {group.parameters[0].tensor, group.parameters[1].tensor};
    const auto before = to_vector(parameters[0].grad());
    EXPECT_FALSE(std::isfinite(clip_grad_norm(parameters, 0.1)));
    EXPECT_EQ(to_vector(parameters[0].grad()), before);
    EXPECT_EQ(first_nonfinite_gradient(group.parameters), "b");
  }
  ParameterGroup fine = leaves({{3}});
  set_gradients(fine, 0);
  EXPECT_EQ(first_nonfinite_gradient(fine.parameters), "");
}

TEST(Clip, LargeFiniteFloat32GradientsHaveAFiniteNorm) {
  Tensor parameter = zeros({4}).set_requires_grad();
  parameter.set_grad(full({4}, 3e38));
  EXPECT_NEAR(clip_grad_norm({parameter}, 1) / 6e38, 1, 1e-6);
}

TEST(Clip, IntegersHaveNoNorm) {
  EXPECT_THAT(message_of([] {
                global_norm({zeros({2}, {DType::Int64, {}})});
              }),
              HasSubstr("global_norm: got a tensor of dtype int64"));
}

}  // namespace
}  // namespace plinth::nn
