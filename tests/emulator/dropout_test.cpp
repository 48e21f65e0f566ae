#include "kernels/dropout/dropout_cuda.h"

#include <gtest/gtest.h>

#include "kernels/dropout/dropout.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct DropoutCase {
  int64_t samples, elements;
  double p;
  int64_t shift = 0;  // in elements beyond a 16-byte boundary
  DropoutPart part = {};
};

const DropoutCase kDropoutCases[] = {{1, 1, 0.5},
                                     {3, 8, 0.1},
                                     {2, 4096, 0.1},
                                     {5, 77, 0.25},
                                     {1, 2050, 0.9},
                                     {7, 4, 0.5},
                                     {2, 12, 0.5},
                                     {2, 64, 0.0},
                                     {2, 64, 1.0},
                                     {3, 64, 0.3, 1},
                                     {2, 64, 0.3, 0, {.first = 128}},
                                     {2, 64, 0.3, 0, {.first = 8, .split = 32, .jump = 100}},
                                     {2, 60, 0.3, 0, {.first = 4, .split = 12, .jump = 8}},
                                     {3, 45, 0.3, 0, {.first = 7, .split = 13, .jump = 30}}};

// The CPU's kernel has the same type, mask and rounding: every bit agrees.
template <class T>
void expect_bits_of_cpu(const DropoutCase& c) {
  SCOPED_TRACE(testing::Message() << c.samples << " x " << c.elements << " p " << c.p << " shift "
                                  << c.shift);
  const PhiloxKey key{0x123456789abcdefULL, 77, 5, (int64_t{1} << 33) + 9};
  const int64_t n = c.samples * c.elements;
  Buffer<T> x(n, c.shift), y(n, c.shift);
  std::vector<T> expected(n);
  x.fill_random(1);
  dropout_forward<T>(nullptr, c.samples, c.elements, c.p, key, x.data(), y.data(), c.part);
  cpu::dropout_forward<T>(c.samples, c.elements, c.p, key, x.data(), expected.data(), c.part);
  for (int64_t i = 0; i < n; ++i)
    ASSERT_EQ(static_cast<compute_t<T>>(y[i]), static_cast<compute_t<T>>(expected[i])) << i;
  dropout_forward<T>(nullptr, c.samples, c.elements, c.p, key, x.data(), x.data(), c.part);
  EXPECT_EQ(x.values(), y.values());
}

TEST(DropoutKernel, Float32HasTheBitsOfTheCpu) {
  for (const DropoutCase& c : kDropoutCases) expect_bits_of_cpu<float>(c);
}
TEST(DropoutKernel, BFloat16HasTheBitsOfTheCpu) {
  for (const DropoutCase& c : kDropoutCases) expect_bits_of_cpu<BFloat16>(c);
}
TEST(DropoutKernel, Float16HasTheBitsOfTheCpu) {
  for (const DropoutCase& c : kDropoutCases) expect_bits_of_cpu<Float16>(c);
}
TEST(DropoutKernel, Float64HasTheBitsOfTheCpu) {
  for (const DropoutCase& c : kDropoutCases) expect_bits_of_cpu<double>(c);
}

TEST(DropoutKernel, TakesStepAndSampleFromTheKeysPlace) {
  const OnDevice<PhiloxPlace> place{{.step = 12, .sample = 345}};
  Buffer<float> x(128), y(128);
  std::vector<float> expected(128);
  x.fill_random(1);
  dropout_forward<float>(nullptr, 2, 64, 0.4,
                         {.seed = 3, .step = 1, .op = 2, .sample = 1, .place = &place.value},
                         x.data(), y.data());
  cpu::dropout_forward<float>(2, 64, 0.4, {.seed = 3, .step = 12, .op = 2, .sample = 345}, x.data(),
                              expected.data());
  EXPECT_EQ(y.values(), std::vector<double>(expected.begin(), expected.end()));
}

TEST(DropoutKernel, DroppedNaNIsZero) {
  Buffer<float> x(64), y(64);  // NaN
  dropout_forward<float>(nullptr, 1, 64, 1.0, PhiloxKey{}, x.data(), y.data());
  EXPECT_EQ(y.values(), std::vector<double>(64));
}

}  // namespace
}  // namespace plinth::kernels::cuda
