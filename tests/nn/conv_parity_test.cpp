// Convolutions and their gradients, against PyTorch's (tests/fixtures/make_conv_fixtures.py).

#include <functional>

#include "core/autograd.h"
#include "core/io/safetensors.h"
#include "core/ops/conv.h"
#include "tests/fixtures.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

struct ConvCase {
  std::string name;
  std::function<Tensor(const Tensor& x, const Tensor& weight, const Tensor& bias)> convolve;
};

ConvCase conv1d_case(const std::string& name, const Conv1dOptions& options) {
  return {name, [=](const Tensor& x, const Tensor& weight, const Tensor& bias) {
            return conv1d(x, weight, bias, options);
          }};
}
ConvCase conv2d_case(const std::string& name, const Conv2dOptions& options) {
  return {name, [=](const Tensor& x, const Tensor& weight, const Tensor& bias) {
            return conv2d(x, weight, bias, options);
          }};
}

const ConvCase kConvCases[] = {
    conv2d_case("patches", {.stride = 4}),
    conv2d_case("padded", {.padding = 1}),
    conv2d_case("grouped", {.stride = {2, 1}, .padding = {1, 2}, .dilation = {2, 3}, .groups = 2}),
    conv2d_case("depthwise", {.padding = 1, .groups = 3}),
    conv1d_case("stem", {.stride = 2, .padding = 1}),
    conv1d_case("dilated", {.padding = 2, .dilation = 2, .groups = 2}),
};

class ConvParity : public testing::TestWithParam<ConvCase> {};

TEST_P(ConvParity, AgreesWithPyTorch) {
  const SafetensorsFile file =
      SafetensorsFile::open(std::string(PLINTH_FIXTURES) + "/conv/expected.safetensors");
  const auto value = [&](const char* what) { return read(file, GetParam().name + "." + what); };
  const Tensor x = value("x").set_requires_grad(), weight = value("weight").set_requires_grad();
  const Tensor bias = value("bias").set_requires_grad();
  const Tensor y = GetParam().convolve(x, weight, bias);
  y.backward(value("dy"));
  expect_close(y, value("y"), 1e-13, "y");
  expect_close(x.grad(), value("dx"), 1e-13, "dx");
  expect_close(weight.grad(), value("dweight"), 1e-13, "dweight");
  expect_close(bias.grad(), value("dbias"), 1e-13, "dbias");
}

INSTANTIATE_TEST_SUITE_P(Cases, ConvParity, testing::ValuesIn(kConvCases),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace plinth::nn
