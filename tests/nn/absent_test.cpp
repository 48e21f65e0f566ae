// Parameters that get their memory late.

#include "nn/absent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/allocator.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "nn/layers.h"
#include "nn/optim/adamw.h"
#include "nn/optim/groups.h"
#include "tests/core/io/expect_error.h"

namespace plinth::nn {
namespace {

constexpr uint64_t kSeed = 7;

// Two layers, whose weight is also the second one's.
class SharedWeight : public Layer {
 public:
  SharedWeight() : first_(make<Linear>("first", 64, 64)) {
    register_parameter("second", first_->weight());
    gain_ = register_parameter("gain", {64}, init::ones());
  }
  Tensor forward(const Tensor& x) override { return first_(x) * gain_; }

 private:
  Handle<Linear> first_;
  Tensor gain_;
};

ParameterValues drawn(const AbsentParameters& absent, const Module& module) {
  return [draws = absent.draws(module.named_parameters())](const NamedTensor& entry) {
    Tensor values = Tensor::empty(entry.tensor.shape(), entry.tensor.options());
    draws.at(entry.name)(values);
    return values;
  };
}

TEST(AbsentParameters, TakeNoMemoryUntilTheyAreFilled) {
  const auto allocated = [] { return allocator(Device{}).stats().allocated; };
  const int64_t before = allocated();
  std::unique_ptr<SharedWeight> module;
  ParameterValues values;
  {
    const AbsentParameters absent;
    module = std::make_unique<SharedWeight>();
    module->reset_parameters(kSeed);
    values = drawn(absent, *module);
  }
  EXPECT_LT(allocated() - before, 64 * 64 * 4);
  EXPECT_EQ(AbsentParameters::active(), nullptr);
  SharedWeight expected;
  expected.reset_parameters(kSeed);
  const auto names = module->named_parameters();
  ASSERT_EQ(names.size(), 3);
  for (const auto& [name, parameter] : names) {
    EXPECT_TRUE(is_absent(parameter)) << name;
    EXPECT_TRUE(std::isnan(to_vector(parameter)[1])) << name;
  }
  fill_absent(names, values);
  for (const auto& [name, parameter] : names) {
    EXPECT_FALSE(is_absent(parameter)) << name;
    EXPECT_TRUE(parameter.requires_grad()) << name;
    EXPECT_EQ(to_vector(parameter), to_vector(find(expected.named_parameters(), name))) << name;
  }
  const Tensor x = ones({1, 64});
  EXPECT_EQ(to_vector((*module)(x)), to_vector(expected(x)));
}

TEST(AbsentParameters, KeepTheValuesThatOthersHave) {
  Linear layer(3, 2);
  const std::vector<double> weight = to_vector(layer.weight());
  fill_absent(layer.named_parameters(), [](const NamedTensor&) { return Tensor(); });
  EXPECT_EQ(to_vector(layer.weight()), weight);
}

TEST(AbsentParameters, AreConvertedAsTheyAre) {
  const AbsentParameters absent;
  Linear layer(3, 2);
  layer.to(DType::BFloat16);
  EXPECT_TRUE(is_absent(layer.weight()));
  EXPECT_EQ(layer.weight().dtype(), DType::BFloat16);
  EXPECT_EQ(layer.weight().shape(), (Shape{2, 3}));
}

TEST(AbsentParameters, AreNotWrittenTo) {
  const AbsentParameters absent;
  Linear layer(3, 2);
  expect_error(ErrorKind::Argument, "several of its elements share memory",
               [&] { layer.load_state_dict(Linear(3, 2, {.bias = false}).state_dict(), false); });
  AdamW optimizer(decay_matrices(layer, 0));
  Tensor weight = layer.weight();
  weight.set_grad(ones({2, 3}));
  expect_error(ErrorKind::Argument, "weight is absent", [&] { optimizer.step(); });
  expect_error(ErrorKind::Shape, "weight got float32 [3, 2], takes float32 [2, 3]", [&] {
    fill_absent(layer.named_parameters(), [](const NamedTensor&) { return ones({3, 2}); });
  });
  expect_error(ErrorKind::Shape, "got a scalar", [] { nn::absent({}, TensorOptions{}); });
  EXPECT_TRUE(std::isnan(nn::absent({}, nn::absent({1}, TensorOptions{})).item()));
}

}  // namespace
}  // namespace plinth::nn
