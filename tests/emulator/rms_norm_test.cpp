#include "kernels/rms_norm/rms_norm_cuda.h"

#include <gtest/gtest.h>

#include "kernels/rms_norm/rms_norm.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct RmsNormCase {
  int64_t rows, cols;
  bool weight, residual;
  int64_t shift = 0;          // of all matrices, in elements beyond a 16-byte boundary
  int64_t narrow_shift = -1;  // of matrices of N; -1: as the others
};

// Against the CPU's float64 kernel, on the numbers that T holds.
// T is the stream's type, N that of the branch that is added to it and of what is normed.
template <class T, class N = T>
void expect_rms_norm(const RmsNormCase& c) {
  SCOPED_TRACE(testing::Message() << c.rows << " x " << c.cols << " weight " << c.weight
                                  << " residual " << c.residual << " shift " << c.shift << " "
                                  << c.narrow_shift);
  using C = compute_t<T>;
  const int64_t n = c.rows * c.cols, narrow = c.narrow_shift < 0 ? c.shift : c.narrow_shift;
  Buffer<T> x(n, c.shift), sum(n, c.shift), dsum(n, c.shift), dx(n, c.shift), w(c.cols), dw(c.cols);
  Buffer<N> branch(n, narrow), y(n, narrow), dy(n, narrow), dbranch(n, narrow);
  Buffer<C> rstd(c.rows);
  Buffer<uint8_t> workspace(rms_norm_backward_workspace<T>(c.rows, c.cols));
  uint64_t seed = 0;
  for (auto* buffer : {&x, &dsum, &w}) buffer->fill_random(++seed);
  for (auto* buffer : {&branch, &dy}) buffer->fill_random(++seed);
  const T* weight = c.weight ? w.data() : nullptr;
  if (c.residual) {
    add_rms_norm_forward<T>(nullptr, c.rows, c.cols, branch.data(), x.data(), weight, C(1e-5),
                            sum.data(), y.data(), rstd.data());
    expect_close<T>(sum.values(), added(x.values(), branch.values()), 1);
  } else {
    rms_norm_forward<T>(nullptr, c.rows, c.cols, x.data(), weight, C(1e-5), y.data(), rstd.data());
  }
  const Buffer<T>& input = c.residual ? sum : x;
  add_rms_norm_backward<T>(nullptr, c.rows, c.cols, dy.data(), c.residual ? dsum.data() : nullptr,
                           input.data(), weight, rstd.data(), dx.data(),
                           c.residual ? dbranch.data() : nullptr, dw.data(), workspace.data());

  const std::vector<double> in = input.values(), slopes = dy.values(), later = dsum.values();
  const std::vector<double> w64 = w.values();
  std::vector<double> y64(n), rstd64(c.rows), dx64(n), dw64(c.cols);
  const double* weight64 = c.weight ? w64.data() : nullptr;
  cpu::rms_norm_forward<double>(c.rows, c.cols, in.data(), weight64, 1e-5, y64.data(),
                                rstd64.data());
  cpu::add_rms_norm_backward<double>(c.rows, c.cols, slopes.data(),
                                     c.residual ? later.data() : nullptr, in.data(), weight64,
                                     rstd64.data(), dx64.data(), nullptr, dw64.data());
  expect_close<N>(y.values(), y64, 4);
  expect_close<C>(rstd.values(), rstd64, 4);
  expect_close<T>(dx.values(), dx64, 4);
  if (c.residual) expect_close<N>(dbranch.values(), dx64, 4);
  expect_close<T>(dw.values(), dw64, 4);
}

// Each instance of the kernel, whole and with a remainder of rows and columns; then rows that no
// instance holds: odd, too long, or not aligned.
const RmsNormCase kRmsNormCases[] = {
    {1, 8, true, false},      {5, 256, true, false}, {9, 264, true, true},   {3, 512, false, false},
    {7, 1000, true, false},   {2, 1032, true, true}, {3, 2048, true, false}, {1, 4096, false, true},
    {2, 4104, true, false},   {70, 64, true, false}, {3, 1, true, false},    {5, 7, true, true},
    {3, 257, false, true},    {1, 8200, true, true}, {1, 8203, true, false}, {3, 64, true, true, 1},
    {70, 40, true, false, 3},
};

TEST(RmsNormKernel, Float32MatchesFloat64) {
  for (const RmsNormCase& c : kRmsNormCases) expect_rms_norm<float>(c);
}
TEST(RmsNormKernel, BFloat16MatchesFloat64) {
  for (const RmsNormCase& c : kRmsNormCases) expect_rms_norm<BFloat16>(c);
}
TEST(RmsNormKernel, Float16MatchesFloat64) {
  for (const RmsNormCase& c : kRmsNormCases) expect_rms_norm<Float16>(c);
}
TEST(RmsNormKernel, Float64MatchesFloat64) {
  for (const RmsNormCase& c : kRmsNormCases) expect_rms_norm<double>(c);
}

// Beside rows of float32; also where the narrow rows begin at no boundary of their vectors, or at
// another than the wide ones.
template <class N>
void expect_narrow_rms_norm() {
  for (const RmsNormCase& c : kRmsNormCases) expect_rms_norm<float, N>(c);
  for (const bool residual : {true, false}) {
    for (const int64_t cols : {64, 63}) {
      for (const int64_t narrow_shift : {1, 2, 4, 5})
        expect_rms_norm<float, N>({3, cols, true, residual, 0, narrow_shift});
      expect_rms_norm<float, N>({3, cols, true, residual, 1, 5});
      expect_rms_norm<float, N>({3, cols, true, residual, 3, 0});
    }
  }
}
TEST(RmsNormKernel, BFloat16BesideFloat32MatchesFloat64) {
  expect_narrow_rms_norm<BFloat16>();
}
TEST(RmsNormKernel, Float16BesideFloat32MatchesFloat64) {
  expect_narrow_rms_norm<Float16>();
}

TEST(RmsNormKernel, EitherGradientOfTheSumCanBeLeftOut) {
  for (const int64_t cols : {256, 77}) {
    const int64_t rows = 5, n = rows * cols;
    Buffer<float> x(n), rstd(rows), dx(n), expected(n);
    Buffer<BFloat16> dy(n), y(n), dbranch(n);
    x.fill_random(1);
    dy.fill_random(2);
    rms_norm_forward<float>(nullptr, rows, cols, x.data(), nullptr, 1e-5f, y.data(), rstd.data());
    const auto backward = [&](float* wide, BFloat16* narrow) {
      add_rms_norm_backward<float>(nullptr, rows, cols, dy.data(), nullptr, x.data(), nullptr,
                                   rstd.data(), wide, narrow, nullptr, nullptr);
    };
    backward(dx.data(), nullptr);
    backward(nullptr, dbranch.data());
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(float(dbranch[i]), float(BFloat16(dx[i])));
    backward(expected.data(), dy.data());  // dbranch may be dy
    EXPECT_EQ(expected.values(), dx.values());
    EXPECT_EQ(dy.values(), dbranch.values());
  }
}

TEST(RmsNormKernel, WritesWhereItReads) {
  for (const int64_t cols : {256, 77}) {
    const int64_t rows = 5, n = rows * cols;
    Buffer<float> x(n), residual(n), dy(n), expected(n), sum(n), rstd(rows);
    uint64_t seed = 0;
    for (auto* buffer : {&x, &residual, &dy}) buffer->fill_random(++seed);
    add_rms_norm_forward<float>(nullptr, rows, cols, x.data(), residual.data(), nullptr, 1e-5f,
                                sum.data(), expected.data(), rstd.data());
    add_rms_norm_forward<float>(nullptr, rows, cols, x.data(), residual.data(), nullptr, 1e-5f,
                                residual.data(), x.data(), nullptr);
    EXPECT_EQ(x.values(), expected.values());
    EXPECT_EQ(residual.values(), sum.values());
    rms_norm_backward<float>(nullptr, rows, cols, dy.data(), sum.data(), nullptr, rstd.data(),
                             expected.data(), nullptr, nullptr);
    rms_norm_backward<float>(nullptr, rows, cols, dy.data(), sum.data(), nullptr, rstd.data(),
                             dy.data(), nullptr, nullptr);
    EXPECT_EQ(dy.values(), expected.values());
  }
}

TEST(RmsNormKernel, GradientOfNoRowsIsZero) {
  Buffer<float> none(0), dw(9);
  rms_norm_backward<float>(nullptr, 0, 9, none.data(), none.data(), nullptr, none.data(),
                           none.data(), dw.data(), nullptr);
  EXPECT_EQ(dw.values(), std::vector<double>(9));
}

TEST(RmsNormKernel, SameBitsInEveryOrderOfThreads) {
  const auto gradient = [](uint64_t seed, int64_t cols) {
    device::emulation_seed() = seed;
    Buffer<float> x(40 * cols), dx(40 * cols), dw(cols), rstd(40);
    Buffer<uint8_t> workspace(rms_norm_backward_workspace<float>(40, cols));
    x.fill_random(3);
    rms_norm_forward<float>(nullptr, 40, cols, x.data(), nullptr, 1e-5f, dx.data(), rstd.data());
    rms_norm_backward<float>(nullptr, 40, cols, x.data(), x.data(), nullptr, rstd.data(), dx.data(),
                             dw.data(), workspace.data());
    return dw.values();
  };
  for (const int64_t cols : {264, 99}) EXPECT_EQ(gradient(1, cols), gradient(2, cols));
}

}  // namespace
}  // namespace plinth::kernels::cuda
