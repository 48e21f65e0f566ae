#include "nn/layers.h"

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/gradcheck.h"
#include "core/ops/elementwise.h"
#include "core/ops/index.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/random.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::HasSubstr;

// "" if the gradients of a layer's output by its input and parameters agree with finite
// differences.
std::string check_gradients(Layer& layer, const Tensor& input) {
  Tensors inputs = layer.parameters();
  inputs.push_back(input.detach().set_requires_grad());
  return gradcheck([&](const Tensors& all) { return Tensors{layer(all.back())}; }, inputs);
}

std::vector<std::string> parameter_names(const Module& module) {
  std::vector<std::string> result;
  for (const auto& entry : module.named_parameters()) result.push_back(entry.name);
  return result;
}

// ---- gradients ----

struct Case {
  std::string name;
  std::function<std::shared_ptr<Layer>()> make;
};

class LayerGradients : public testing::TestWithParam<Case> {};

const Case kCases[] = {
    {"linear", [] { return std::make_shared<Linear>(4, 3, LinearOptions{.options = kFloat64}); }},
    {"linear_without_bias",
     [] {
       return std::make_shared<Linear>(4, 3, LinearOptions{.bias = false, .options = kFloat64});
     }},
    {"layer_norm",
     [] { return std::make_shared<LayerNorm>(4, LayerNormOptions{.options = kFloat64}); }},
    {"layer_norm_without_bias",
     [] {
       return std::make_shared<LayerNorm>(4, LayerNormOptions{.bias = false, .options = kFloat64});
     }},
    {"rms_norm", [] { return std::make_shared<RMSNorm>(4, RMSNormOptions{.options = kFloat64}); }},
    {"mlp", [] { return std::make_shared<MLP>(4, 5, MLPOptions{.options = kFloat64}); }},
    {"mlp_tanh_without_bias",
     [] {
       return std::make_shared<MLP>(
           4, 5, MLPOptions{.gelu = GeluForm::Tanh, .bias = false, .options = kFloat64});
     }},
    {"gated_mlp",
     [] { return std::make_shared<GatedMLP>(4, 5, GatedMLPOptions{.options = kFloat64}); }},
    {"gated_mlp_fused_with_bias",
     [] {
       return std::make_shared<GatedMLP>(
           4, 5, GatedMLPOptions{.fused = true, .bias = true, .options = kFloat64});
     }},
    {"sequential",
     [] {
       return std::make_shared<Sequential>(std::vector<std::shared_ptr<Layer>>{
           std::make_shared<Linear>(4, 6, LinearOptions{.options = kFloat64}),
           std::make_shared<Identity>(),
           std::make_shared<RMSNorm>(6, RMSNormOptions{.options = kFloat64})});
     }},
};

TEST_P(LayerGradients, AgreeWithFiniteDifferences) {
  const auto layer = GetParam().make();
  EXPECT_EQ(check_gradients(*layer, values({2, 3, 4})), "");
}

INSTANTIATE_TEST_SUITE_P(Layers, LayerGradients, testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

// ---- formulas ----

TEST(Linear, IsAnAffineMap) {
  Linear layer(3, 2, {.options = kFloat64});
  const Tensor x = values({4, 3});
  expect_close(layer(x), matmul(x, layer.weight().transpose(0, 1)) + layer.bias(), 1e-14);
  expect_close(layer.product(x), matmul(x, layer.weight().transpose(0, 1)), 1e-14);
}

TEST(Linear, DefaultsToUniformWithinTheFanIn) {
  const Linear layer(100, 50);
  EXPECT_LE(amax(abs(layer.weight())).item(), 0.1);
  EXPECT_GE(amax(abs(layer.weight())).item(), 0.099);
  EXPECT_LE(amax(abs(layer.bias())).item(), 0.1);
}

TEST(Linear, SharesAWeight) {
  Embedding table(5, 3, init::normal(), kFloat64);
  Linear head(table.weight());
  EXPECT_TRUE(head.weight().is(table.weight()));
  const Tensor x = values({2, 3});
  expect_close(head(x), table.logits(x), 0);
}

TEST(Conv, HasThePatchesProductAsItsOutput) {
  // A patch embedding is a linear map of each patch.
  Conv2d layer(3, 5, {2, 4}, {.stride = {2, 4}}, {.options = kFloat64});
  const Tensor x = values({2, 3, 4, 8});
  const Tensor patches =
      x.reshape({2, 3, 2, 2, 2, 4}).permute({0, 2, 4, 1, 3, 5}).reshape({2, 4, 24});
  const Tensor y = linear(patches, layer.weight().reshape({5, 24}), layer.bias());
  expect_close(layer(x).flatten(2), y.transpose(1, 2), 1e-14);
}

TEST(Conv, OfOneDimensionIsAConvolutionOfHeightOne) {
  Conv1d layer(4, 6, 3, {.stride = 2, .padding = 1, .groups = 2}, {.options = kFloat64});
  EXPECT_THAT(parameter_names(layer), testing::ElementsAre("weight", "bias"));
  EXPECT_EQ(layer.weight().shape(), Shape({6, 2, 3}));
  Conv2d flat(4, 6, {1, 3}, {.stride = {1, 2}, .padding = {0, 1}, .groups = 2},
              {.options = kFloat64});
  flat.load_state_dict({{"weight", layer.weight().unsqueeze(2)}, {"bias", layer.bias()}});
  const Tensor x = values({2, 4, 9});
  expect_close(layer(x), flat(x.unsqueeze(2)).squeeze(2), 0);
  EXPECT_EQ(check_gradients(layer, x), "");
  EXPECT_EQ(check_gradients(flat, x.unsqueeze(2)), "");
}

TEST(Conv, DefaultsToUniformWithinTheFanIn) {
  const Conv2d layer(32, 64, {2, 5}, {.groups = 4});  // a fan in of 8 x 10
  const double bound = 1 / std::sqrt(80.0);
  EXPECT_LE(amax(abs(layer.weight())).item(), bound);
  EXPECT_GE(amax(abs(layer.weight())).item(), 0.99 * bound);
  EXPECT_LE(amax(abs(layer.bias())).item(), bound);
  EXPECT_FALSE(Conv1d(2, 3, 1, {}, {.bias = false}).bias().defined());
}

TEST(Embedding, PicksRowsAndTiesTheHead) {
  Embedding table(5, 3, init::normal(), kFloat64);
  const Tensor ids = from_values<int64_t>({4, 0, 4, 2}, {2, 2});
  const Tensor y = table(ids);
  EXPECT_EQ(y.shape(), Shape({2, 2, 3}));
  expect_close(y[1][0], table.weight()[4], 0);
  // Both uses of the weight add to its gradient.
  EXPECT_EQ(gradcheck([&](const Tensors&) { return Tensors{table.logits(table(ids))}; },
                      table.parameters()),
            "");
}

TEST(Norms, WithResidualGiveSumAndNorm) {
  LayerNorm layer_norm(4, {.options = kFloat64});
  RMSNorm rms_norm(4, {.options = kFloat64});
  const Tensor x = values({3, 4}, 1), residual = values({3, 4}, 2);
  const AddNorm a = layer_norm.add({residual, x}), b = rms_norm.add({residual, x});
  expect_close(a.sum, x + residual, 1e-15);
  expect_close(a.normed, layer_norm(x + residual), 1e-14);
  expect_close(b.sum, x + residual, 1e-15);
  expect_close(b.normed, rms_norm(x + residual), 1e-14);
}

// A step of a block under autocast: x + branch, its norm, a product, and all gradients.
template <class N>
Tensors step_of_block(const N& norm, DType branch_dtype, bool add) {
  const Tensor x = values({6, 20}, 1, {}).set_requires_grad();
  const Tensor branch = values({6, 20}, 2, {branch_dtype, {}}).set_requires_grad();
  const Tensor weight = values({5, 20}, 3, {}).set_requires_grad();
  norm->zero_grad();
  const AutocastGuard guard(DType::BFloat16);
  const AddNorm both = add ? norm->add({x, branch}) : norm->add(x);
  const Tensor y = linear(both.normed, weight);
  (sum(square(y)) + sum(square(both.sum))).backward();
  Tensors all = {both.sum, both.normed.to(DType::BFloat16), y, x.grad(), weight.grad()};
  if (add) all.push_back(branch.grad());
  for (const Tensor& parameter : norm->parameters()) all.push_back(parameter.grad());
  return all;
}

template <class N, class Options>
void expect_same_step() {
  const auto plain = std::make_shared<N>(20);
  const auto feeding = std::make_shared<N>(20, Options{.feeds_products = true});
  for (const DType dtype : {DType::BFloat16, DType::Float32}) {
    for (const bool add : {true, false}) {
      const Tensors a = step_of_block(feeding, dtype, add), b = step_of_block(plain, dtype, add);
      ASSERT_EQ(a.size(), b.size());
      for (size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i].dtype(), b[i].dtype()) << i;
        EXPECT_EQ(to_vector(a[i]), to_vector(b[i])) << i;
      }
    }
  }
}

TEST(Norms, ThatFeedProductsHaveTheBitsOfAConversion) {
  expect_same_step<LayerNorm, LayerNormOptions>();
  expect_same_step<RMSNorm, RMSNormOptions>();
}

TEST(Norms, ThatFeedProductsGiveTheirDtypeUnderAutocastAlone) {
  RMSNorm norm(4, {.feeds_products = true});
  LayerNorm wide(4, {.feeds_products = true, .options = kFloat64});
  const Tensor x = values({3, 4}, 1, {});
  EXPECT_EQ(norm(x).dtype(), DType::Float32);
  const AutocastGuard guard(DType::Float16);
  EXPECT_EQ(norm(x).dtype(), DType::Float16);
  EXPECT_EQ(norm.add({x, x}).sum.dtype(), DType::Float32);
  EXPECT_EQ(norm.add({x, x}).normed.dtype(), DType::Float16);
  EXPECT_EQ(wide(x.to(DType::Float64)).dtype(), DType::Float64);
  EXPECT_EQ(RMSNorm(4)(x).dtype(), DType::Float32);
}

TEST(MLP, FusedAndPlainFormsAgree) {
  GatedMLP fused(4, 5, {.fused = true, .options = kFloat64});
  GatedMLP plain(4, 5, {.options = kFloat64});
  StateDict dict = fused.state_dict();
  const Tensor both = find(dict, "gate_up.weight").detach();
  plain.load_state_dict({{"gate.weight", both.narrow(0, 0, 5)},
                         {"up.weight", both.narrow(0, 5, 5)},
                         {"down.weight", find(dict, "down.weight")}});
  const Tensor x = values({2, 4});
  expect_close(fused(x), plain(x), 1e-14);
}

TEST(MLP, GeluFormsDiffer) {
  manual_seed(1);
  MLP exact(4, 8, {.options = kFloat64}),
      tanh_form(4, 8, {.gelu = GeluForm::Tanh, .options = kFloat64});
  tanh_form.load_state_dict(exact.state_dict());
  const Tensor x = values({3, 4});
  expect_close(exact(x), to_vector(tanh_form(x)), 1e-2);
  EXPECT_NE(to_vector(exact(x)), to_vector(tanh_form(x)));
}

TEST(Dropout, WorksInTrainingOnly) {
  manual_seed(5);
  Dropout dropout(0.5);
  const Tensor x = ones({1000});
  const double kept = sum(dropout(x)).item() / 2;  // each kept element is 2
  EXPECT_NEAR(kept / 1000, 0.5, 0.1);
  dropout.eval();
  EXPECT_TRUE(dropout(x).is(x));
}

TEST(Sequential, NamesItsLayersByNumber) {
  Sequential layers;
  layers.append(std::make_shared<Linear>(2, 3)).append(std::make_shared<Dropout>(0.1));
  EXPECT_THAT(parameter_names(layers), testing::ElementsAre("0.weight", "0.bias"));
  EXPECT_EQ(layers.size(), 2);
  EXPECT_EQ(layers[1].type_name(), "Dropout");
  const Tensor x = ones({1, 2});
  EXPECT_TRUE(Sequential()(x).is(x));
}

TEST(Layers, WrongSizesAreNamed) {
  EXPECT_THAT(message_of([] { Linear(0, 3); }), HasSubstr("Linear: in is 0"));
  EXPECT_THAT(message_of([] { Linear(ones({3})); }), HasSubstr("weight has shape [3]"));
  EXPECT_THAT(message_of([] { Conv1d(2, 0, 3); }), HasSubstr("Conv1d: in is 2 and out 0"));
  EXPECT_THAT(message_of([] { Conv2d(2, 3, {1, 0}); }), HasSubstr("Conv2d: kernel is [1, 0]"));
  EXPECT_THAT(message_of([] { Conv2d(4, 6, 3, {.groups = 4}); }),
              HasSubstr("Conv2d: groups is 4, expected a divisor of in (4) and of out (6)"));
  EXPECT_THAT(message_of([] { Embedding(5, 0); }), HasSubstr("Embedding: count is 5 and dim 0"));
  EXPECT_THAT(message_of([] { Dropout(1.5); }), HasSubstr("Dropout: p is 1.5"));
  EXPECT_THAT(message_of([] { LayerNorm(0); }), HasSubstr("LayerNorm: dim is 0"));
  EXPECT_THAT(message_of([] {
                LayerNorm(4, {.weight = false, .bias = false})(ones({2, 3}));
              }),
              HasSubstr("x has shape [2, 3], expected [..., 4]"));
  EXPECT_THAT(message_of([] { RMSNorm(-1); }), HasSubstr("RMSNorm: dim is -1"));
  EXPECT_THAT(message_of([] { Linear(2, 3)(ones({4, 5})); }), HasSubstr("x has shape [4, 5]"));
  EXPECT_THAT(message_of([] { Embedding(5, 2)(from_values<int64_t>({7}, {1})); }), HasSubstr("7"));
}

}  // namespace
}  // namespace plinth::nn
