#include "kernels/activation/activation_cuda.h"

#include <gtest/gtest.h>

#include "kernels/activation/activation.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct ActivationCase {
  int64_t n;
  int64_t shift = 0;    // of all, in elements beyond a 16-byte boundary
  int64_t shift_y = 0;  // of the result, besides
};

const ActivationCase kActivationCases[] = {{1},       {7},     {64},        {3000},
                                           {5000, 1}, {37, 3}, {2049, 1, 1}};

template <class T>
using Forward = void (*)(void*, int64_t, const T*, T*);
template <class T>
using Backward = void (*)(void*, int64_t, const T*, const T*, T*);
using Forward64 = void (*)(int64_t, const double*, double*);
using Backward64 = void (*)(int64_t, const double*, const double*, double*);

// Both passes against the CPU's float64 kernels, on the numbers that T holds.
template <class T>
void expect_activation(const char* name, bool from_output, Forward<T> forward, Backward<T> backward,
                       Forward64 forward64, Backward64 backward64) {
  for (const ActivationCase& c : kActivationCases) {
    SCOPED_TRACE(testing::Message()
                 << name << " of " << c.n << " shift " << c.shift << " + " << c.shift_y);
    Buffer<T> x(c.n, c.shift), dy(c.n, c.shift);
    Buffer<T> y(c.n, c.shift + c.shift_y), dx(c.n, c.shift + c.shift_y);
    x.fill_random(1);
    dy.fill_random(2);
    for (int64_t i = 0; i < c.n; ++i) x[i] = T(static_cast<compute_t<T>>(x[i]) * 3);
    if (c.n > 5) {
      x[0] = T(0.0f);
      x[3] = T(-60.0f);
      x[5] = T(60.0f);
    }
    forward(nullptr, c.n, x.data(), y.data());
    const Buffer<T>& input = from_output ? y : x;
    backward(nullptr, c.n, dy.data(), input.data(), dx.data());

    const std::vector<double> in = x.values(), slopes = dy.values(), known = input.values();
    std::vector<double> y64(c.n), dx64(c.n);
    forward64(c.n, in.data(), y64.data());
    backward64(c.n, slopes.data(), known.data(), dx64.data());
    expect_each<T>(y.values(), y64);
    expect_each<T>(dx.values(), dx64);
  }
}

template <class T>
void expect_activations() {
  expect_activation<T>("gelu", false, gelu_forward<T>, gelu_backward<T>, cpu::gelu_forward<double>,
                       cpu::gelu_backward<double>);
  expect_activation<T>("gelu_tanh", false, gelu_tanh_forward<T>, gelu_tanh_backward<T>,
                       cpu::gelu_tanh_forward<double>, cpu::gelu_tanh_backward<double>);
  expect_activation<T>("gelu_quick", false, gelu_quick_forward<T>, gelu_quick_backward<T>,
                       cpu::gelu_quick_forward<double>, cpu::gelu_quick_backward<double>);
  expect_activation<T>("silu", false, silu_forward<T>, silu_backward<T>, cpu::silu_forward<double>,
                       cpu::silu_backward<double>);
  expect_activation<T>("relu", false, relu_forward<T>, relu_backward<T>, cpu::relu_forward<double>,
                       cpu::relu_backward<double>);
  expect_activation<T>("sigmoid", true, sigmoid_forward<T>, sigmoid_backward<T>,
                       cpu::sigmoid_forward<double>, cpu::sigmoid_backward<double>);
  expect_activation<T>("tanh", true, tanh_forward<T>, tanh_backward<T>, cpu::tanh_forward<double>,
                       cpu::tanh_backward<double>);
}

TEST(ActivationKernel, Float32MatchesFloat64) {
  expect_activations<float>();
}
TEST(ActivationKernel, BFloat16MatchesFloat64) {
  expect_activations<BFloat16>();
}
TEST(ActivationKernel, Float16MatchesFloat64) {
  expect_activations<Float16>();
}
TEST(ActivationKernel, Float64MatchesFloat64) {
  expect_activations<double>();
}

// Numbers whose squares and cubes leave float32's range give themselves or zero.
template <class T>
void expect_huge_values(const char* name, Forward<T> forward, Backward<T> backward) {
  constexpr float kHuge[] = {4096,   -4096, 2e13f,  -2e13f, 2e19f,
                             -2e19f, 1e30f, -1e30f, 3e38f,  -3e38f};
  const int64_t n = std::ssize(kHuge);
  Buffer<T> x(n), y(n), dy(n), dx(n);
  for (int64_t i = 0; i < n; ++i) {
    x[i] = T(kHuge[i]);
    dy[i] = T(3.0f);
  }
  forward(nullptr, n, x.data(), y.data());
  backward(nullptr, n, dy.data(), x.data(), dx.data());
  for (int64_t i = 0; i < n; ++i) {
    EXPECT_EQ(y.values()[i], std::max(x.values()[i], 0.0)) << name << " of " << kHuge[i];
    EXPECT_EQ(dx.values()[i], kHuge[i] > 0 ? 3 : 0) << name << " at " << kHuge[i];
  }
}

template <class T>
void expect_huge_values() {
  expect_huge_values<T>("gelu", gelu_forward<T>, gelu_backward<T>);
  expect_huge_values<T>("gelu_tanh", gelu_tanh_forward<T>, gelu_tanh_backward<T>);
  expect_huge_values<T>("gelu_quick", gelu_quick_forward<T>, gelu_quick_backward<T>);
  expect_huge_values<T>("silu", silu_forward<T>, silu_backward<T>);
}

TEST(ActivationKernel, HugeValuesGiveThemselvesOrZero) {
  expect_huge_values<float>();
  expect_huge_values<BFloat16>();
}

TEST(ActivationKernel, NaNStaysAndResultsMayOverwriteInputs) {
  Buffer<float> x(40), y(40), dy(40), dx(40);
  x.fill_random(1);
  dy.fill_random(2);
  gelu_backward<float>(nullptr, 40, dy.data(), x.data(), dx.data());
  gelu_backward<float>(nullptr, 40, dy.data(), x.data(), dy.data());
  EXPECT_EQ(dy.values(), dx.values());
  x[7] = std::numeric_limits<float>::quiet_NaN();
  relu_forward<float>(nullptr, 40, x.data(), y.data());
  relu_forward<float>(nullptr, 40, x.data(), x.data());
  EXPECT_TRUE(std::isnan(x[7]) && std::isnan(y[7]));
  x[7] = y[7] = 0;
  EXPECT_EQ(x.values(), y.values());
}

}  // namespace
}  // namespace plinth::kernels::cuda
