// Convolutions on the GPU: cuDNN's calls against the emulator's cuDNN, and the plain kernels.

#include "kernels/conv/conv_cuda.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/conv/conv_plain_cuda.h"
#include "kernels/device/emulate/library/cudnn.h"
#include "kernels/device/emulate/stream.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

using testing::HasSubstr;

const ConvDesc kConvolutions[] = {
    {.batch = 2, .in_channels = 3, .out_channels = 4, .input = {5, 6}, .kernel = {3, 3}},
    {.batch = 1,
     .in_channels = 4,
     .out_channels = 6,
     .groups = 2,
     .input = {6, 7},
     .kernel = {2, 3},
     .stride = {2, 1},
     .padding = {1, 2},
     .dilation = {2, 3}},
    {.batch = 2,
     .in_channels = 2,
     .out_channels = 3,
     .input = {1, 11},
     .kernel = {1, 3},
     .stride = {1, 2},
     .padding = {0, 1}},
    {.batch = 1,
     .in_channels = 3,
     .out_channels = 3,
     .groups = 3,
     .input = {8, 4},
     .kernel = {4, 2},
     .stride = {4, 2}},
};

// Calls f(y's element, weight's, x's) for each product of a convolution.
template <class F>
void for_each_term(const ConvDesc& d, F f) {
  for (int64_t y = 0; y < d.batch * d.out_channels * d.positions(); ++y) {
    const int64_t o = y / d.positions() % d.out_channels, n = y / d.positions() / d.out_channels;
    const int64_t row = y % d.positions() / d.output(1), column = y % d.output(1);
    for (int64_t k = 0; k < d.depth(); ++k) {
      const int64_t r =
          row * d.stride[0] - d.padding[0] + k % d.taps() / d.kernel[1] * d.dilation[0];
      const int64_t s = column * d.stride[1] - d.padding[1] + k % d.kernel[1] * d.dilation[1];
      if (r < 0 || r >= d.input[0] || s < 0 || s >= d.input[1]) continue;
      const int64_t c = o / d.group_outputs() * d.group_inputs() + k / d.taps();
      f(y, o * d.depth() + k, ((n * d.in_channels + c) * d.input[0] + r) * d.input[1] + s);
    }
  }
}

template <class T>
struct ConvProblem {
  ConvDesc d;
  Buffer<T> x, weight, bias, y, dx, dweight;

  // With `shift` elements between an aligned address and x's.
  explicit ConvProblem(const ConvDesc& desc, int64_t shift = 0)
      : d(desc),
        x(d.batch * d.in_channels * d.pixels(), shift),
        weight(d.out_channels * d.depth()),
        bias(d.out_channels),
        y(d.batch * d.out_channels * d.positions()),
        dx(d.batch * d.in_channels * d.pixels()),
        dweight(d.out_channels * d.depth()) {
    x.fill_random(1);
    weight.fill_random(2);
    bias.fill_random(3);
  }

  void forward(void* stream = nullptr) {
    Buffer<uint8_t> workspace(bytes(ConvPass::Forward));
    conv_forward(stream, d, x.data(), weight.data(), bias.data(), y.data(), workspace.data());
  }
  // From y as the gradient.
  void backward() {
    y.fill_random(4);
    Buffer<uint8_t> for_input(bytes(ConvPass::BackwardInput));
    Buffer<uint8_t> for_weight(bytes(ConvPass::BackwardWeight));
    conv_backward_input<T>(nullptr, d, y.data(), weight.data(), dx.data(), for_input.data());
    conv_backward_weight<T>(nullptr, d, y.data(), x.data(), dweight.data(), for_weight.data());
  }
  int64_t bytes(ConvPass pass) const { return static_cast<int64_t>(conv_workspace<T>(d, pass)); }

  void expect_forward(double factor = 8) {
    const auto vx = x.values(), vweight = weight.values(), vbias = bias.values();
    std::vector<double> expected(vbias.size() * d.batch * d.positions());
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] = vbias[i / d.positions() % d.out_channels];
    for_each_term(d, [&](int64_t i, int64_t w, int64_t at) { expected[i] += vweight[w] * vx[at]; });
    expect_close<T>(y.values(), expected, factor);
  }
  void expect_backward(double factor = 8) {
    const auto vx = x.values(), vweight = weight.values(), vy = y.values();
    std::vector<double> input(vx.size()), kernel(vweight.size());
    for_each_term(d, [&](int64_t i, int64_t w, int64_t at) {
      input[at] += vweight[w] * vy[i];
      kernel[w] += vx[at] * vy[i];
    });
    expect_close<T>(dx.values(), input, factor);
    expect_close<T>(dweight.values(), kernel, factor);
  }
};

class ConvKernels : public testing::Test {
 protected:
  void TearDown() override { emulate::cudnn().missing = false; }
};

template <class T>
void expect_convolutions() {
  for (const ConvDesc& d : kConvolutions) {
    ConvProblem<T> p(d);
    p.forward();
    p.expect_forward();
    p.backward();
    p.expect_backward();
  }
}

template <class T>
void expect_by_cudnn(int engine) {
  const int64_t before = emulate::cudnn().executions;
  expect_convolutions<T>();
  EXPECT_EQ(emulate::cudnn().executions - before, 3 * std::size(kConvolutions));
  EXPECT_EQ(emulate::cudnn().last_engine, engine);
  for (const auto pass : {ConvPass::Forward, ConvPass::BackwardInput, ConvPass::BackwardWeight})
    EXPECT_TRUE(conv_path<T>(kConvolutions[0], pass).by_cudnn);
}

TEST_F(ConvKernels, Float32ByCudnnWithoutTensorCores) {
  expect_by_cudnn<float>(emulate::kEnginePlain);
}
TEST_F(ConvKernels, BFloat16ByCudnn) {
  expect_by_cudnn<BFloat16>(emulate::kEngineTensorCore);
}
TEST_F(ConvKernels, Float16ByCudnn) {
  expect_by_cudnn<Float16>(emulate::kEngineTensorCore);
}

TEST_F(ConvKernels, Float32RoundsToTf32WhereAllowed) {
  ConvDesc d = kConvolutions[0];
  d.allow_tf32 = true;
  ConvProblem<float> p(d);
  p.forward();
  EXPECT_EQ(emulate::cudnn().last_engine, emulate::kEngineTensorCore);
  p.expect_forward(0x1p13);  // TF32 has 13 bits less
}

TEST_F(ConvKernels, Float64ByThePlainKernels) {
  const int64_t before = emulate::cudnn().executions;
  expect_convolutions<double>();
  EXPECT_EQ(emulate::cudnn().executions, before);
  EXPECT_THAT(conv_path<double>(kConvolutions[0], ConvPass::Forward).why, HasSubstr("float64"));
}

TEST_F(ConvKernels, ThePlainKernelsServeEveryDtypeWithoutCudnn) {
  emulate::cudnn().missing = true;
  const int64_t before = emulate::cudnn().executions;
  ConvDesc d = kConvolutions[1];
  d.padding = {2, 3};  // a problem that no other test has decided
  const ConvPath path = conv_path<float>(d, ConvPass::Forward);
  EXPECT_FALSE(path.by_cudnn);
  EXPECT_THAT(path.why, HasSubstr("libcudnn.so.9: not found"));
  const auto run = [&](auto problem) {
    problem.forward();
    problem.expect_forward();
    problem.backward();
    problem.expect_backward();
  };
  run(ConvProblem<float>(d));
  run(ConvProblem<BFloat16>(d));
  run(ConvProblem<Float16>(d));
  EXPECT_EQ(emulate::cudnn().executions, before);
}

TEST_F(ConvKernels, NondeterministicEnginesAreRefused) {
  emulate::cudnn().only_nondeterministic = true;
  ConvDesc d = kConvolutions[0];
  d.padding = {2, 1};
  const ConvPath path = conv_path<float>(d, ConvPass::Forward);
  EXPECT_FALSE(path.by_cudnn);
  EXPECT_EQ(path.why, "cuDNN has no engine for it that is deterministic and exact");
  ConvProblem<float> p(d);
  p.forward();
  p.expect_forward();
  emulate::cudnn().only_nondeterministic = false;
}

TEST_F(ConvKernels, AnUnalignedOperandIsForThePlainKernels) {
  const int64_t before = emulate::cudnn().executions;
  ConvProblem<float> p(kConvolutions[0], 1);
  p.forward();
  p.expect_forward();
  EXPECT_EQ(emulate::cudnn().executions, before);
}

TEST_F(ConvKernels, PlansAreKeptByProblem) {
  ConvDesc d = kConvolutions[0];
  d.batch = 3;
  ConvProblem<float>(d).forward();
  const int64_t graphs = emulate::cudnn().graphs, live = emulate::cudnn().live_descriptors;
  ConvProblem<float>(d).forward();
  EXPECT_EQ(emulate::cudnn().graphs, graphs);
  EXPECT_EQ(emulate::cudnn().live_descriptors, live);
  d.batch = 4;
  ConvProblem<float>(d).forward();
  EXPECT_EQ(emulate::cudnn().graphs, graphs + 1);
}

TEST_F(ConvKernels, WorkIsDoneInTheStreamsOrder) {
  emulate::StreamQueue stream;
  ConvProblem<float> p(kConvolutions[0]);
  Buffer<uint8_t> workspace(p.bytes(ConvPass::Forward));
  conv_forward<float>(&stream, p.d, p.x.data(), p.weight.data(), p.bias.data(), p.y.data(),
                      workspace.data());
  EXPECT_TRUE(std::isnan(p.y[0]));
  stream.run_all();
  p.expect_forward();
}

TEST_F(ConvKernels, EmptyOperands) {
  ConvDesc d = kConvolutions[0];
  d.batch = 0;
  ConvProblem<float> none(d);
  none.forward();
  none.backward();
  none.expect_backward();
  d = kConvolutions[0];
  d.in_channels = 0;
  ConvProblem<float> biases(d);
  biases.forward();
  biases.expect_forward();
}

}  // namespace
}  // namespace plinth::kernels::cuda
