#include "kernels/bias_gelu/bias_gelu.h"
#include "kernels/swiglu/swiglu.h"
#include "tests/c_api/c_api_testing.h"

namespace plinth {
namespace {

namespace cpu = kernels::cpu;

constexpr int64_t kTokens = 4, kWidth = 40, kElements = kTokens * kWidth;

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

double activation(plinth_activation kind, double x) {
  switch (kind) {
    case PLINTH_GELU: return x / 2 * (1 + std::erf(x / std::sqrt(2)));
    case PLINTH_GELU_TANH:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case PLINTH_GELU_QUICK: return x * sigmoid(1.702 * x);
    case PLINTH_SILU: return x * sigmoid(x);
    case PLINTH_RELU: return std::max(x, 0.0);
    case PLINTH_SIGMOID: return sigmoid(x);
    default: return std::tanh(x);
  }
}

TEST(CApi, Activations) {
  for (plinth_activation kind = PLINTH_GELU; kind <= PLINTH_GELU_QUICK; ++kind) {
    SCOPED_TRACE(kind);
    Array<float> x(kElements, 1), dy(kElements, 2), y(kElements), dx(kElements);
    EXPECT_OK(plinth_activation_forward(kTested, nullptr, PLINTH_FLOAT32, kind, kElements, x.data(),
                                        y.data()));
    const bool takes_output = kind == PLINTH_SIGMOID || kind == PLINTH_TANH;
    EXPECT_OK(plinth_activation_backward(kTested, nullptr, PLINTH_FLOAT32, kind, kElements,
                                         dy.data(), takes_output ? y.data() : x.data(), dx.data()));
    std::vector<double> values, slopes;
    constexpr double kStep = 1e-4;
    for (int64_t i = 0; i < kElements; ++i) {
      const double at = x.values()[i], g = dy.values()[i];
      values.push_back(activation(kind, at));
      slopes.push_back(g * (activation(kind, at + kStep) - activation(kind, at - kStep)) /
                       (2 * kStep));
    }
    expect_near(y.values(), values);
    expect_near(dx.values(), slopes, 1e-4);
  }
}

TEST(CApi, SwiGluOfTheHalvesOfABuffer) {
  constexpr int64_t kStride = 2 * kWidth;
  Array<float> both(2 * kElements, 1), dy(kElements, 2), y(kElements), d_both(2 * kElements);
  float* const gate = both.data();
  EXPECT_OK(plinth_swiglu_forward(kTested, nullptr, PLINTH_FLOAT32, kTokens, kWidth, kStride, gate,
                                  gate + kWidth, y.data()));
  EXPECT_OK(plinth_swiglu_backward(kTested, nullptr, PLINTH_FLOAT32, kTokens, kWidth, kStride,
                                   dy.data(), gate, gate + kWidth, d_both.data(),
                                   d_both.data() + kWidth));
  Array<float> y2(kElements), d_both2(2 * kElements);
  cpu::swiglu_forward<float>(kTokens, kWidth, gate, kStride, gate + kWidth, kStride, y2.data());
  cpu::swiglu_backward<float>(kTokens, kWidth, dy.data(), gate, kStride, gate + kWidth, kStride,
                              d_both2.data(), kStride, d_both2.data() + kWidth, kStride);
  expect_near(y.values(), y2.values());
  expect_near(d_both.values(), d_both2.values());
}

TEST(CApi, BiasGeluInAllForms) {
  struct Form {
    plinth_activation name;
    decltype(&cpu::bias_gelu_forward<float>) forward;
    decltype(&cpu::bias_gelu_backward<float>) backward;
  };
  for (const auto& [form, forward, backward] :
       {Form{PLINTH_GELU, cpu::bias_gelu_forward, cpu::bias_gelu_backward},
        Form{PLINTH_GELU_TANH, cpu::bias_gelu_tanh_forward, cpu::bias_gelu_tanh_backward},
        Form{PLINTH_GELU_QUICK, cpu::bias_gelu_quick_forward, cpu::bias_gelu_quick_backward}}) {
    Array<float> x(kElements, 1), bias(kWidth, 2), dy(kElements, 3), y(kElements), dx(kElements),
        dbias(kWidth);
    EXPECT_OK(plinth_bias_gelu_forward(kTested, nullptr, PLINTH_FLOAT32, form, kTokens, kWidth,
                                       x.data(), bias.data(), y.data()));
    Workspace workspace([](size_t* bytes) {
      return plinth_bias_gelu_backward_workspace(kTested, PLINTH_FLOAT32, kTokens, kWidth, bytes);
    });
    EXPECT_OK(plinth_bias_gelu_backward(kTested, nullptr, PLINTH_FLOAT32, form, kTokens, kWidth,
                                        dy.data(), x.data(), bias.data(), dx.data(), dbias.data(),
                                        workspace.data(), workspace.bytes()));
    Array<float> y2(kElements), dx2(kElements), dbias2(kWidth);
    forward(kTokens, kWidth, x.data(), bias.data(), y2.data());
    backward(kTokens, kWidth, dy.data(), x.data(), bias.data(), dx2.data(), dbias2.data());
    expect_near(y.values(), y2.values());
    expect_near(dx.values(), dx2.values());
    expect_near(dbias.values(), dbias2.values());
  }
}

TEST(CApi, DropoutIsAFunctionOfItsKey) {
  const plinth_philox_key key = {.seed = 7, .step = 3, .op = 1, .sample = 0};
  Array<float> x(kElements, 1), y(kElements), again(kElements);
  EXPECT_OK(plinth_dropout(kTested, nullptr, PLINTH_FLOAT32, kTokens, kWidth, 0.5, &key, x.data(),
                           y.data()));
  EXPECT_OK(plinth_dropout(kTested, nullptr, PLINTH_FLOAT32, kTokens, kWidth, 0.5, &key, x.data(),
                           again.data()));
  EXPECT_EQ(y.values(), again.values());
  int64_t kept = 0;
  for (int64_t i = 0; i < kElements; ++i) {
    const double value = y.values()[i];
    kept += value != 0;
    EXPECT_TRUE(value == 0 || value == 2 * x.values()[i]);
  }
  EXPECT_GT(kept, kElements / 4);
  EXPECT_LT(kept, kElements * 3 / 4);
}

TEST(CApi, CastsBetweenAnyTwoDtypes) {
  Array<float> x = {0, 1, 2.75, -3.5, 100};
  Array<BFloat16> narrow(5);
  Array<int64_t> whole(5);
  Array<uint8_t> truth(5);  // of bool
  Array<Float8_e4m3> tiny(5);
  Array<double> back(5);
  const auto cast = [](plinth_dtype from, const void* in, plinth_dtype to, void* out) {
    EXPECT_OK(plinth_cast(kTested, nullptr, from, to, 5, in, out));
  };
  cast(PLINTH_FLOAT32, x.data(), PLINTH_BFLOAT16, narrow.data());
  EXPECT_EQ(narrow.values(), x.values());
  cast(PLINTH_BFLOAT16, narrow.data(), PLINTH_INT64, whole.data());
  EXPECT_THAT(std::vector(whole.data(), whole.data() + 5), testing::ElementsAre(0, 1, 2, -3, 100));
  cast(PLINTH_INT64, whole.data(), PLINTH_BOOL, truth.data());
  EXPECT_THAT(std::vector(truth.data(), truth.data() + 5), testing::ElementsAre(0, 1, 1, 1, 1));
  cast(PLINTH_FLOAT32, x.data(), PLINTH_FLOAT8_E4M3, tiny.data());
  cast(PLINTH_FLOAT8_E4M3, tiny.data(), PLINTH_FLOAT64, back.data());
  EXPECT_THAT(back.values(), testing::ElementsAre(0, 1, 2.75, -3.5, 96));
}

}  // namespace
}  // namespace plinth
