#include "kernels/layer_norm/layer_norm.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/softmax/softmax.h"
#include "tests/c_api/c_api_testing.h"

namespace plinth {
namespace {

namespace cpu = kernels::cpu;

constexpr int64_t kRows = 5, kCols = 24, kCount = kRows * kCols;
constexpr double kEps = 1e-5;

TEST(CApi, LayerNorm) {
  Array<float> x(kCount, 1), weight(kCols, 2), bias(kCols, 3), dy(kCount, 4);
  Array<float> y(kCount), mean(kRows), rstd(kRows), dx(kCount), dweight(kCols), dbias(kCols);
  EXPECT_OK(plinth_layer_norm_forward(kTested, nullptr, PLINTH_FLOAT32, kRows, kCols, x.data(),
                                      nullptr, weight.data(), bias.data(), kEps, nullptr, y.data(),
                                      mean.data(), rstd.data()));
  Array<float> y2(kCount), mean2(kRows), rstd2(kRows), dx2(kCount), dweight2(kCols), dbias2(kCols);
  cpu::layer_norm_forward<float>(kRows, kCols, x.data(), weight.data(), bias.data(), kEps,
                                 y2.data(), mean2.data(), rstd2.data());
  expect_near(y.values(), y2.values());
  expect_near(mean.values(), mean2.values());
  expect_near(rstd.values(), rstd2.values());

  Workspace workspace([](size_t* bytes) {
    return plinth_layer_norm_backward_workspace(kTested, PLINTH_FLOAT32, kRows, kCols, bytes);
  });
  EXPECT_OK(plinth_layer_norm_backward(kTested, nullptr, PLINTH_FLOAT32, kRows, kCols, dy.data(),
                                       nullptr, x.data(), weight.data(), mean.data(), rstd.data(),
                                       dx.data(), dweight.data(), dbias.data(), workspace.data(),
                                       workspace.bytes()));
  cpu::layer_norm_backward<float>(kRows, kCols, dy.data(), x.data(), weight.data(), mean2.data(),
                                  rstd2.data(), dx2.data(), dweight2.data(), dbias2.data());
  expect_near(dx.values(), dx2.values());
  expect_near(dweight.values(), dweight2.values());
  expect_near(dbias.values(), dbias2.values());
}

TEST(CApi, LayerNormOfASum) {
  Array<float> x(kCount, 1), residual(kCount, 2), sum(kCount), y(kCount), sum2(kCount), y2(kCount);
  EXPECT_OK(plinth_layer_norm_forward(kTested, nullptr, PLINTH_FLOAT32, kRows, kCols, x.data(),
                                      residual.data(), nullptr, nullptr, kEps, sum.data(), y.data(),
                                      nullptr, nullptr));
  cpu::add_layer_norm_forward<float>(kRows, kCols, x.data(), residual.data(), nullptr, nullptr,
                                     kEps, sum2.data(), y2.data(), nullptr, nullptr);
  expect_near(sum.values(), sum2.values(), 0);
  expect_near(y.values(), y2.values());
}

TEST(CApi, RmsNorm) {
  Array<float> x(kCount, 1), residual(kCount, 5), weight(kCols, 2), dy(kCount, 4), dsum(kCount, 6);
  Array<float> sum(kCount), y(kCount), rstd(kRows), dx(kCount), dweight(kCols);
  EXPECT_OK(plinth_rms_norm_forward(kTested, nullptr, PLINTH_FLOAT32, kRows, kCols, x.data(),
                                    residual.data(), weight.data(), kEps, sum.data(), y.data(),
                                    rstd.data()));
  Array<float> sum2(kCount), y2(kCount), rstd2(kRows), dx2(kCount), dweight2(kCols);
  cpu::add_rms_norm_forward<float>(kRows, kCols, x.data(), residual.data(), weight.data(), kEps,
                                   sum2.data(), y2.data(), rstd2.data());
  expect_near(y.values(), y2.values());
  Workspace workspace([](size_t* bytes) {
    return plinth_rms_norm_backward_workspace(kTested, PLINTH_FLOAT32, kRows, kCols, bytes);
  });
  EXPECT_OK(plinth_rms_norm_backward(kTested, nullptr, PLINTH_FLOAT32, kRows, kCols, dy.data(),
                                     dsum.data(), sum.data(), weight.data(), rstd.data(), dx.data(),
                                     dweight.data(), workspace.data(), workspace.bytes()));
  cpu::add_rms_norm_backward<float>(kRows, kCols, dy.data(), dsum.data(), sum2.data(),
                                    weight.data(), rstd2.data(), dx2.data(), nullptr,
                                    dweight2.data());
  expect_near(dx.values(), dx2.values());
  expect_near(dweight.values(), dweight2.values());
  // Without a residual, x itself is normalised.
  EXPECT_OK(plinth_rms_norm_forward(kTested, nullptr, PLINTH_FLOAT32, kRows, kCols, x.data(),
                                    nullptr, weight.data(), kEps, nullptr, y.data(), nullptr));
  cpu::rms_norm_forward<float>(kRows, kCols, x.data(), weight.data(), kEps, y2.data(), nullptr);
  expect_near(y.values(), y2.values());
}

template <class T>
class CApiTyped : public testing::Test {};
using Floats = testing::Types<double, float, BFloat16, Float16>;
TYPED_TEST_SUITE(CApiTyped, Floats);

TYPED_TEST(CApiTyped, SoftmaxAndItsLogarithm) {
  using T = TypeParam;
  const double tolerance = sizeof(T) == 2 ? 1e-2 : 2e-5;
  Array<T> x(kCount, 1), dy(kCount, 2), y(kCount), dx(kCount), y2(kCount), dx2(kCount);
  EXPECT_OK(plinth_softmax_forward(kTested, nullptr, kDtype<T>, kRows, kCols, x.data(), y.data()));
  EXPECT_OK(plinth_softmax_backward(kTested, nullptr, kDtype<T>, kRows, kCols, dy.data(), y.data(),
                                    dx.data()));
  cpu::softmax_forward<T>(kRows, kCols, x.data(), y2.data());
  cpu::softmax_backward<T>(kRows, kCols, dy.data(), y2.data(), dx2.data());
  expect_near(y.values(), y2.values(), tolerance);
  expect_near(dx.values(), dx2.values(), tolerance);
  EXPECT_OK(
      plinth_log_softmax_forward(kTested, nullptr, kDtype<T>, kRows, kCols, x.data(), y.data()));
  EXPECT_OK(plinth_log_softmax_backward(kTested, nullptr, kDtype<T>, kRows, kCols, dy.data(),
                                        y.data(), dx.data()));
  cpu::log_softmax_forward<T>(kRows, kCols, x.data(), y2.data());
  cpu::log_softmax_backward<T>(kRows, kCols, dy.data(), y2.data(), dx2.data());
  expect_near(y.values(), y2.values(), tolerance);
  expect_near(dx.values(), dx2.values(), tolerance);
}

}  // namespace
}  // namespace plinth
