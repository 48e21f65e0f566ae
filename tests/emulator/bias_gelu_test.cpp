#include "kernels/bias_gelu/bias_gelu_cuda.h"

#include <gtest/gtest.h>

#include "kernels/bias_gelu/bias_gelu.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct BiasGeluCase {
  int64_t rows, cols;
  int64_t shift = 0;  // of all, in elements beyond a 16-byte boundary
};

const BiasGeluCase kBiasGeluCases[] = {{1, 1},    {3, 8},    {70, 64},  {5, 77},    {33, 264},
                                       {2, 2056}, {140, 13}, {2, 4100}, {40, 32, 1}};

// A form's kernels, and the CPU's.
template <class T>
struct Form {
  const char* name;
  decltype(&bias_gelu_forward<T>) forward;
  decltype(&bias_gelu_backward<T>) backward;
  decltype(&cpu::bias_gelu_forward<double>) forward64;
  decltype(&cpu::bias_gelu_backward<double>) backward64;
};

// Against the CPU's float64 kernels, on the numbers that T holds.
template <class T>
void expect_bias_gelu(const BiasGeluCase& c, const Form<T>& form) {
  SCOPED_TRACE(testing::Message() << c.rows << " x " << c.cols << " shift " << c.shift << " "
                                  << form.name);
  const int64_t n = c.rows * c.cols;
  Buffer<T> x(n, c.shift), y(n, c.shift), dy(n, c.shift), dx(n, c.shift), bias(c.cols, c.shift),
      dbias(c.cols);
  Buffer<uint8_t> workspace(bias_gelu_backward_workspace<T>(c.rows, c.cols));
  uint64_t seed = 0;
  for (auto* buffer : {&x, &dy, &bias}) buffer->fill_random(++seed);
  form.forward(nullptr, c.rows, c.cols, x.data(), bias.data(), y.data());
  form.backward(nullptr, c.rows, c.cols, dy.data(), x.data(), bias.data(), dx.data(), dbias.data(),
                workspace.data());

  const std::vector<double> in = x.values(), b = bias.values(), slopes = dy.values();
  std::vector<double> y64(n), dx64(n), dbias64(c.cols);
  form.forward64(c.rows, c.cols, in.data(), b.data(), y64.data());
  form.backward64(c.rows, c.cols, slopes.data(), in.data(), b.data(), dx64.data(), dbias64.data());
  expect_each<T>(y.values(), y64);
  expect_each<T>(dx.values(), dx64);
  expect_close<T>(dbias.values(), dbias64, 2);

  form.backward(nullptr, c.rows, c.cols, dy.data(), x.data(), bias.data(), x.data(), nullptr,
                nullptr);
  EXPECT_EQ(x.values(), dx.values());
}

template <class T>
void expect_all_forms() {
  const Form<T> forms[] = {
      {"exact", bias_gelu_forward<T>, bias_gelu_backward<T>, cpu::bias_gelu_forward<double>,
       cpu::bias_gelu_backward<double>},
      {"tanh", bias_gelu_tanh_forward<T>, bias_gelu_tanh_backward<T>,
       cpu::bias_gelu_tanh_forward<double>, cpu::bias_gelu_tanh_backward<double>},
      {"quick", bias_gelu_quick_forward<T>, bias_gelu_quick_backward<T>,
       cpu::bias_gelu_quick_forward<double>, cpu::bias_gelu_quick_backward<double>}};
  for (const BiasGeluCase& c : kBiasGeluCases)
    for (const Form<T>& form : forms) expect_bias_gelu<T>(c, form);
}

TEST(BiasGeluKernel, Float32MatchesFloat64) {
  expect_all_forms<float>();
}
TEST(BiasGeluKernel, BFloat16MatchesFloat64) {
  expect_all_forms<BFloat16>();
}
TEST(BiasGeluKernel, Float16MatchesFloat64) {
  expect_all_forms<Float16>();
}
TEST(BiasGeluKernel, Float64MatchesFloat64) {
  expect_all_forms<double>();
}

TEST(BiasGeluKernel, GradientOfNoRowsIsZero) {
  Buffer<float> none(0), bias(9), dbias(9);
  bias_gelu_backward<float>(nullptr, 0, 9, none.data(), none.data(), bias.data(), none.data(),
                            dbias.data(), nullptr);
  EXPECT_EQ(dbias.values(), std::vector<double>(9));
}

TEST(BiasGeluKernel, SameBitsInEveryOrderOfThreads) {
  const auto gradient = [](uint64_t seed) {
    device::emulation_seed() = seed;
    Buffer<float> x(100 * 40), dx(100 * 40), bias(40), dbias(40);
    Buffer<uint8_t> workspace(bias_gelu_backward_workspace<float>(100, 40));
    x.fill_random(3);
    bias.fill_random(4);
    bias_gelu_backward<float>(nullptr, 100, 40, x.data(), x.data(), bias.data(), dx.data(),
                              dbias.data(), workspace.data());
    return dbias.values();
  };
  EXPECT_EQ(gradient(1), gradient(2));
}

}  // namespace
}  // namespace plinth::kernels::cuda
