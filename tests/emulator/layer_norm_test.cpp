#include "kernels/layer_norm/layer_norm_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct LayerNormCase {
  int64_t rows, cols;
  bool affine, residual;
  int64_t shift = 0;  // of x, in elements beyond a 16-byte boundary
  bool shift_all = false;
  int64_t narrow_shift = -1;  // of matrices of N; -1: as the others
};

// The op and its gradient in float64.
struct LayerNormReference {
  std::vector<double> y, dx, dweight, dbias;
};

LayerNormReference layer_norm_reference(const LayerNormCase& c, const std::vector<double>& x,
                                        const std::vector<double>& w, const std::vector<double>& b,
                                        const std::vector<double>& dy) {
  LayerNormReference r{std::vector<double>(x.size()), std::vector<double>(x.size()),
                       std::vector<double>(c.cols), std::vector<double>(c.cols)};
  for (int64_t i = 0; i < c.rows; ++i) {
    const double* row = &x[i * c.cols];
    double mean = 0, var = 0;
    for (int64_t j = 0; j < c.cols; ++j) mean += row[j] / c.cols;
    for (int64_t j = 0; j < c.cols; ++j) var += (row[j] - mean) * (row[j] - mean) / c.cols;
    const double rstd = 1 / std::sqrt(var + 1e-5);
    double sum_g = 0, sum_gn = 0;
    for (int64_t j = 0; j < c.cols; ++j) {
      const double n = (row[j] - mean) * rstd, slope = dy[i * c.cols + j];
      r.y[i * c.cols + j] = n * w[j] + b[j];
      r.dweight[j] += slope * n;
      r.dbias[j] += slope;
      sum_g += slope * w[j];
      sum_gn += slope * w[j] * n;
    }
    for (int64_t j = 0; j < c.cols; ++j) {
      const double n = (row[j] - mean) * rstd;
      r.dx[i * c.cols + j] =
          rstd * (dy[i * c.cols + j] * w[j] - sum_g / c.cols - n * sum_gn / c.cols);
    }
  }
  return r;
}

// In types T of the stream, and N of the branch that is added to it and of what is normed.
template <class T, class N = T>
void expect_layer_norm(const LayerNormCase& c) {
  SCOPED_TRACE(testing::Message() << c.rows << " x " << c.cols << " affine " << c.affine
                                  << " residual " << c.residual << " shift " << c.shift << " "
                                  << c.narrow_shift);
  using C = compute_t<T>;
  const int64_t n = c.rows * c.cols, others = c.shift_all ? c.shift : 0;
  const int64_t narrow = c.narrow_shift < 0 ? others : c.narrow_shift;
  Buffer<T> x(n, c.shift), sum(n, others), dsum(n, others), dx(n, others), w(c.cols), b(c.cols),
      dw(c.cols), db(c.cols);
  Buffer<N> branch(n, narrow), y(n, narrow), dy(n, narrow), dbranch(n, narrow);
  Buffer<C> mean(c.rows), rstd(c.rows);
  Buffer<uint8_t> workspace(layer_norm_backward_workspace<T>(c.rows, c.cols));
  uint64_t seed = 0;
  for (auto* buffer : {&x, &dsum, &w, &b}) buffer->fill_random(++seed);
  for (auto* buffer : {&branch, &dy}) buffer->fill_random(++seed);
  const T* weight = c.affine ? w.data() : nullptr;
  const T* bias = c.affine ? b.data() : nullptr;
  if (c.residual) {
    add_layer_norm_forward<T>(nullptr, c.rows, c.cols, branch.data(), x.data(), weight, bias,
                              C(1e-5), sum.data(), y.data(), mean.data(), rstd.data());
  } else {
    layer_norm_forward<T>(nullptr, c.rows, c.cols, x.data(), weight, bias, C(1e-5), y.data(),
                          mean.data(), rstd.data());
  }
  const Buffer<T>& input = c.residual ? sum : x;
  add_layer_norm_backward<T>(nullptr, c.rows, c.cols, dy.data(), c.residual ? dsum.data() : nullptr,
                             input.data(), weight, mean.data(), rstd.data(), dx.data(),
                             c.residual ? dbranch.data() : nullptr, dw.data(), db.data(),
                             workspace.data());

  const std::vector<double> ones(c.cols, 1.0), zeros(c.cols, 0.0);
  LayerNormReference r = layer_norm_reference(c, input.values(), c.affine ? w.values() : ones,
                                              c.affine ? b.values() : zeros, dy.values());
  if (c.residual) {
    expect_close<T>(sum.values(), added(x.values(), branch.values()), 1);
    r.dx = added(r.dx, dsum.values());
    expect_close<N>(dbranch.values(), r.dx, 4);
  }
  expect_close<N>(y.values(), r.y, 4);
  expect_close<T>(dx.values(), r.dx, 4);
  expect_close<T>(dw.values(), r.dweight, 4);
  expect_close<T>(db.values(), r.dbias, 4);
}

// Each instance of the kernel, whole and with a remainder of rows and columns.
const LayerNormCase kLayerNormCases[] = {
    {1, 8, true, false},
    {5, 256, true, false},
    {9, 264, true, true},
    {3, 512, false, false},
    {7, 1000, true, false},
    {2, 1024, true, true},
    {3, 1032, true, false},
    {2, 2048, true, true},
    {1, 4096, true, false},
    {2, 4104, false, true},
    {70, 64, true, false},
    // Rows that no instance holds: odd, too long, or at pointers that are not aligned alike.
    {3, 1, true, false},
    {5, 7, true, true},
    {3, 257, true, true},
    {2, 1001, false, false},
    {1, 8200, true, true},
    {1, 8203, true, false},
    {3, 64, true, true, 1},
    {3, 63, true, true, 1, true},
    {70, 40, true, false, 3, true},
};

TEST(LayerNormKernel, Float32MatchesFloat64) {
  for (const LayerNormCase& c : kLayerNormCases) expect_layer_norm<float>(c);
}
TEST(LayerNormKernel, BFloat16MatchesFloat64) {
  for (const LayerNormCase& c : kLayerNormCases) expect_layer_norm<BFloat16>(c);
}
TEST(LayerNormKernel, Float16MatchesFloat64) {
  for (const LayerNormCase& c : kLayerNormCases) expect_layer_norm<Float16>(c);
}

TEST(LayerNormKernel, Float64MatchesFloat64) {
  for (const LayerNormCase& c : kLayerNormCases) expect_layer_norm<double>(c);
}

// Beside rows of float32; also where the narrow rows begin at no boundary of their vectors, or at
// another than the wide ones.
template <class N>
void expect_narrow_layer_norm() {
  for (const LayerNormCase& c : kLayerNormCases) expect_layer_norm<float, N>(c);
  for (const bool residual : {true, false}) {
    for (const int64_t cols : {64, 63}) {
      for (const int64_t narrow_shift : {1, 2, 4, 5})
        expect_layer_norm<float, N>({3, cols, true, residual, 0, true, narrow_shift});
      expect_layer_norm<float, N>({3, cols, true, residual, 1, true, 5});
      expect_layer_norm<float, N>({3, cols, true, residual, 3, true, 0});
    }
  }
}
TEST(LayerNormKernel, BFloat16BesideFloat32MatchesFloat64) {
  expect_narrow_layer_norm<BFloat16>();
}
TEST(LayerNormKernel, Float16BesideFloat32MatchesFloat64) {
  expect_narrow_layer_norm<Float16>();
}

TEST(LayerNormKernel, EitherGradientOfTheSumCanBeLeftOut) {
  for (const int64_t cols : {256, 77}) {
    const int64_t rows = 5, n = rows * cols;
    Buffer<float> x(n), mean(rows), rstd(rows), dx(n), expected(n);
    Buffer<BFloat16> dy(n), y(n), dbranch(n);
    x.fill_random(1);
    dy.fill_random(2);
    layer_norm_forward<float>(nullptr, rows, cols, x.data(), nullptr, nullptr, 1e-5f, y.data(),
                              mean.data(), rstd.data());
    const auto backward = [&](float* wide, BFloat16* narrow) {
      add_layer_norm_backward<float>(nullptr, rows, cols, dy.data(), nullptr, x.data(), nullptr,
                                     mean.data(), rstd.data(), wide, narrow, nullptr, nullptr,
                                     nullptr);
    };
    backward(dx.data(), nullptr);
    backward(nullptr, dbranch.data());
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(float(dbranch[i]), float(BFloat16(dx[i])));
    backward(expected.data(), dy.data());  // dbranch may be dy
    EXPECT_EQ(expected.values(), dx.values());
    EXPECT_EQ(dy.values(), dbranch.values());
  }
}

TEST(LayerNormKernel, WritesWhereItReads) {
  for (const int64_t cols : {256, 77}) {
    const int64_t rows = 5, n = rows * cols;
    Buffer<float> x(n), residual(n), dy(n), dsum(n), expected(n), sum(n), mean(rows), rstd(rows);
    uint64_t seed = 0;
    for (auto* buffer : {&x, &residual, &dy, &dsum}) buffer->fill_random(++seed);
    add_layer_norm_forward<float>(nullptr, rows, cols, x.data(), residual.data(), nullptr, nullptr,
                                  1e-5f, sum.data(), expected.data(), mean.data(), rstd.data());
    add_layer_norm_forward<float>(nullptr, rows, cols, x.data(), residual.data(), nullptr, nullptr,
                                  1e-5f, residual.data(), x.data(), nullptr, nullptr);
    EXPECT_EQ(x.values(), expected.values());
    EXPECT_EQ(residual.values(), sum.values());
    add_layer_norm_backward<float>(nullptr, rows, cols, dy.data(), dsum.data(), sum.data(), nullptr,
                                   mean.data(), rstd.data(), expected.data(), nullptr, nullptr,
                                   nullptr, nullptr);
    add_layer_norm_backward<float>(nullptr, rows, cols, dy.data(), dsum.data(), sum.data(), nullptr,
                                   mean.data(), rstd.data(), dsum.data(), nullptr, nullptr, nullptr,
                                   nullptr);
    EXPECT_EQ(dsum.values(), expected.values());
  }
}

TEST(LayerNormKernel, GradientsOfNoRowsAreZero) {
  Buffer<float> none(0), dw(9), db(9);
  layer_norm_backward<float>(nullptr, 0, 9, none.data(), none.data(), nullptr, none.data(),
                             none.data(), none.data(), dw.data(), db.data(), nullptr);
  EXPECT_EQ(added(dw.values(), db.values()), std::vector<double>(9));
}

TEST(LayerNormKernel, SameBitsInEveryOrderOfThreads) {
  const auto gradients = [](uint64_t seed, int64_t cols) {
    device::emulation_seed() = seed;
    Buffer<float> x(40 * cols), dx(40 * cols), w(cols), dw(cols), db(cols), mean(40), rstd(40);
    Buffer<uint8_t> workspace(layer_norm_backward_workspace<float>(40, cols));
    x.fill_random(3);
    w.fill_random(4);
    layer_norm_forward<float>(nullptr, 40, cols, x.data(), w.data(), nullptr, 1e-5f, dx.data(),
                              mean.data(), rstd.data());
    layer_norm_backward<float>(nullptr, 40, cols, x.data(), x.data(), w.data(), mean.data(),
                               rstd.data(), dx.data(), dw.data(), db.data(), workspace.data());
    return added(dw.values(), db.values());
  };
  for (const int64_t cols : {264, 99}) EXPECT_EQ(gradients(1, cols), gradients(2, cols));
}

}  // namespace
}  // namespace plinth::kernels::cuda
