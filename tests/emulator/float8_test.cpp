#include "kernels/float8/float8_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct Float8Case {
  int64_t rows, padded, cols, shift;
};
constexpr Float8Case kFloat8Cases[] = {
    {1, 16, 16, 0}, {64, 64, 64, 0}, {70, 80, 144, 0}, {33, 48, 80, 1}};

// Both devices round the same products: the bits must agree.
template <class T, class F>
void expect_the_cpus_bits(const Float8Case& c) {
  SCOPED_TRACE(testing::Message() << c.rows << " x " << c.cols);
  Buffer<T> x(c.rows * c.cols, c.shift);
  x.fill_random(1);
  const int64_t tiles = float8_tiles(c.rows, c.cols), size = c.padded * c.cols;
  Buffer<float> amaxes(tiles), again(tiles), scale(2);
  Buffer<F> q(size), transposed(size);
  float8_amax(nullptr, c.rows, c.cols, x.data(), amaxes.data());
  float8_scale(nullptr, tiles, amaxes.data(), 448, 2, scale.data());
  float8_quantise(nullptr, c.rows, c.padded, c.cols, x.data(), scale.data(), q.data(),
                  transposed.data(), again.data());

  std::vector<float> cpu_amaxes(tiles), cpu_scale(2);
  std::vector<F> cpu_q(size), cpu_transposed(size);
  cpu::float8_amax(c.rows, c.cols, x.data(), cpu_amaxes.data());
  cpu::float8_scale(tiles, cpu_amaxes.data(), 448, 2, cpu_scale.data());
  cpu::float8_quantise(c.rows, c.padded, c.cols, x.data(), cpu_scale.data(), cpu_q.data(),
                       cpu_transposed.data(), nullptr);
  for (int64_t i = 0; i < tiles; ++i) {
    ASSERT_EQ(amaxes[i], cpu_amaxes[i]);
    ASSERT_EQ(again[i], cpu_amaxes[i]);
  }
  ASSERT_EQ(scale[0], cpu_scale[0]);
  ASSERT_EQ(scale[1], cpu_scale[1]);
  for (int64_t i = 0; i < size; ++i) {
    ASSERT_EQ(q[i].bits, cpu_q[i].bits) << "element " << i;
    ASSERT_EQ(transposed[i].bits, cpu_transposed[i].bits) << "element " << i;
  }
}

template <class T>
void expect_all_float8() {
  for (const Float8Case& c : kFloat8Cases) {
    expect_the_cpus_bits<T, Float8_e4m3>(c);
    expect_the_cpus_bits<T, Float8_e5m2>(c);
  }
}

TEST(Float8Kernel, Float64HasTheCpusBits) {
  expect_all_float8<double>();
}
TEST(Float8Kernel, Float32HasTheCpusBits) {
  expect_all_float8<float>();
}
TEST(Float8Kernel, BFloat16HasTheCpusBits) {
  expect_all_float8<BFloat16>();
}
TEST(Float8Kernel, Float16HasTheCpusBits) {
  expect_all_float8<Float16>();
}

TEST(Float8Kernel, QuantisesWithoutTheTransposedCopyAndTheAmax) {
  Buffer<float> x(32 * 16), scale(2);
  Buffer<Float8_e4m3> q(32 * 16);
  x.fill_random(2);
  scale[0] = 3;
  float8_quantise<float, Float8_e4m3>(nullptr, 32, 32, 16, x.data(), scale.data(), q.data(),
                                      nullptr, nullptr);
  for (int64_t i = 0; i < 32 * 16; ++i) ASSERT_EQ(q[i].bits, Float8_e4m3(x[i] * 3).bits);
}

TEST(Float8Kernel, AHistoryTakesTheNewestFirst) {
  for (const int64_t length : {1, 2, 1024}) {
    Buffer<float> history(length), amaxes(3000);
    for (int64_t i = 0; i < length; ++i) history[i] = static_cast<float>(i);
    for (int64_t i = 0; i < 3000; ++i) amaxes[i] = static_cast<float>(i % 1700);
    float8_record(nullptr, 3000, amaxes.data(), length, history.data());
    EXPECT_EQ(history[0], 1699);
    for (int64_t i = 1; i < length; ++i) ASSERT_EQ(history[i], static_cast<float>(i - 1));
  }
}

}  // namespace
}  // namespace plinth::kernels::cuda
