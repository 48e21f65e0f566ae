// Products through the emulator's cuBLASLt: the sums of every layout and dtype, and what goes with
// them.

#include <gtest/gtest.h>

#include "kernels/activation/activation.h"
#include "tests/emulator/product_testing.h"

namespace plinth::kernels::cuda::product_testing {
namespace {

// Every layout, with odd sizes; accumulated and with a bias.
std::vector<Case> plain_cases() {
  std::vector<Case> cases;
  for (const Layout a : {Layout::Row, Layout::Column})
    for (const Layout b : {Layout::Row, Layout::Column})
      for (const int64_t gap : {0, 3}) cases.push_back({1, 5, 7, 9, a, b, gap});
  cases.push_back({3, 4, 6, 80, Layout::Column, Layout::Row, 0, true});
  cases.push_back({2, 8, 16, 8, Layout::Row, Layout::Column, 8, false, Epilogue::Bias});
  cases.push_back({1, 1, 5, 4});
  cases.push_back({1, 5, 1, 4, Layout::Column, Layout::Column});
  cases.push_back({1, 6, 5, 1, Layout::Row, Layout::Column, 0, true});
  return cases;
}

template <class T, class C>
void expect_plain_cases() {
  for (const Case& t : plain_cases()) {
    SCOPED_TRACE(testing::Message() << t.batch << " of " << t.m << " x " << t.n << " x " << t.k);
    Tuner tuner;
    Operands<T, T, C> x(t);
    std::vector<double> expected = x.sums();
    const auto bias = x.bias.values();
    for (size_t e = 0; t.epilogue == Epilogue::Bias && e < expected.size(); ++e)
      expected[e] += bias[e % t.n];
    const uint64_t before = emulate::cublaslt().products;
    EXPECT_TRUE(x.make(tuner).plan);
    EXPECT_EQ(emulate::cublaslt().products, before + 1);
    expect_close<C>(x.matrix(x.c), expected, 4);
  }
}

TEST(Product, Float64MatchesTheSum) {
  expect_plain_cases<double, double>();
}
TEST(Product, Float32MatchesTheSum) {
  expect_plain_cases<float, float>();
}
TEST(Product, BFloat16MatchesTheSum) {
  expect_plain_cases<BFloat16, BFloat16>();
}
TEST(Product, Float16MatchesTheSum) {
  expect_plain_cases<Float16, Float16>();
}
TEST(Product, NarrowOperandsGiveAFloat32ResultUnrounded) {
  expect_plain_cases<BFloat16, float>();
  expect_plain_cases<Float16, float>();
}

TEST(Product, ThePlainKernelGivesAFloat32ResultToo) {
  emulate::cublaslt().missing = true;
  for (const Case& t : {Case{2, 5, 7, 9, Layout::Row, Layout::Column, 3, true},
                        Case{1, 5, 7, 9, Layout::Row, Layout::Row, 0, false, Epilogue::Bias}}) {
    Tuner tuner;
    Operands<BFloat16, BFloat16, float> x(t);
    std::vector<double> expected = x.sums();
    const auto bias = x.bias.values();
    for (size_t e = 0; t.epilogue == Epilogue::Bias && e < expected.size(); ++e)
      expected[e] += bias[e % t.n];
    EXPECT_FALSE(x.make(tuner).plan);
    expect_close<float>(x.matrix(x.c), expected, 4);
  }
  emulate::cublaslt().missing = false;
}

TEST(Product, Tf32RoundsOperandsOnlyWhereItIsAllowed) {
  Tuner tuner;
  Operands<float, float, float> x({1, 1, 1, 1});
  x.a[0] = 1 + 0x1p-12f;
  x.b[0] = 1;
  x.make(tuner);
  EXPECT_EQ(x.c[0], 1 + 0x1p-12f);
  x.product.allow_tf32 = true;
  x.make(tuner);
  EXPECT_EQ(x.c[0], 1);
}

// ---- epilogues ----

double gelu(double x) {
  double y = 0;
  cpu::gelu_tanh_forward<double>(1, &x, &y);
  return y;
}
double gelu_gradient(double x, double dy) {
  double dx = 0;
  cpu::gelu_tanh_backward<double>(1, &dy, &x, &dx);
  return dx;
}

template <class T>
void expect_gelu() {
  Tuner tuner;
  Operands<T, T, T> x(
      {.m = 5, .n = 16, .k = 12, .b = Layout::Column, .gap = 8, .epilogue = Epilogue::GeluBias});
  std::vector<double> before = x.sums(), after;
  const auto bias = x.bias.values();
  for (size_t e = 0; e < before.size(); ++e) {
    before[e] += bias[e % 16];
    after.push_back(gelu(before[e]));
  }
  ASSERT_TRUE(x.make(tuner).plan);
  expect_close<T>(x.matrix(x.aux), before, 4);
  expect_close<T>(x.matrix(x.c), after, 8);
}

TEST(Product, GeluOfTheBiasedSumWithItsInput) {
  expect_gelu<BFloat16>();
  expect_gelu<Float16>();
}

template <class T>
void expect_gelu_gradient() {
  Tuner tuner;
  Operands<T, T, T> x({.m = 6, .n = 24, .k = 5, .epilogue = Epilogue::GeluGradient});
  std::vector<double> expected = x.sums(), bias(24);
  const auto inputs = x.matrix(x.aux);
  for (size_t e = 0; e < expected.size(); ++e) {
    expected[e] = gelu_gradient(inputs[e], expected[e]);
    bias[e % 24] += expected[e];
  }
  ASSERT_TRUE(x.make(tuner).plan);
  expect_close<T>(x.matrix(x.c), expected, 8);
  expect_close<T>(x.gradient.values(), bias, 8);
}

TEST(Product, GeluGradientAndItsColumnSums) {
  expect_gelu_gradient<BFloat16>();
}

template <class T, class C>
void expect_bias_gradient() {
  Tuner tuner;
  Operands<T, T, C> x(
      {.m = 7, .n = 5, .k = 30, .a = Layout::Column, .epilogue = Epilogue::BiasGradient});
  const auto expected = x.sums(), a = x.a.values();
  std::vector<double> bias(7);
  for (int64_t p = 0; p < 30; ++p)
    for (int64_t i = 0; i < 7; ++i) bias[i] += a[p * 7 + i];
  ASSERT_TRUE(x.make(tuner).plan);
  expect_close<C>(x.matrix(x.c), expected, 4);
  expect_close<C>(x.gradient.values(), bias, 4);
}

TEST(Product, BiasGradientIsTheSumOverK) {
  expect_bias_gradient<float, float>();
  expect_bias_gradient<BFloat16, BFloat16>();
  expect_bias_gradient<BFloat16, float>();
}

// ---- float8 ----

template <class A, class B, class C>
void expect_float8(const Case& t, bool with_library) {
  Tuner tuner;
  tuner.capability_number = with_library ? 89 : 80;
  Operands<A, B, C> x(t);
  Buffer<float> scales(2);
  scales[0] = 0.25f;
  scales[1] = 3;
  x.product.a_scale = scales.data();
  x.product.b_scale = scales.data() + 1;
  std::vector<double> expected = x.sums();
  const auto bias = x.bias.values();
  for (size_t e = 0; e < expected.size(); ++e)
    expected[e] = expected[e] * 0.75 + (t.epilogue == Epilogue::Bias ? bias[e % t.n] : 0);
  EXPECT_EQ(x.make(tuner).plan != nullptr, with_library);
  expect_close<C>(x.matrix(x.c), expected, 4);
}

TEST(Product, Float8ScalesTheSum) {
  for (const bool with_library : {true, false}) {
    const Case t{.m = 16, .n = 32, .k = 48, .b = Layout::Column};
    Case biased = t;
    biased.epilogue = Epilogue::Bias;
    expect_float8<Float8_e4m3, Float8_e4m3, BFloat16>(biased, with_library);
    expect_float8<Float8_e5m2, Float8_e4m3, Float16>(t, with_library);
    expect_float8<Float8_e4m3, Float8_e5m2, float>(t, with_library);
  }
}

}  // namespace
}  // namespace plinth::kernels::cuda::product_testing
