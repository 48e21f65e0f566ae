#include "kernels/layer_norm/layer_norm_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct Case {
  int64_t rows, cols;
  bool affine, residual;
  int64_t shift = 0;  // of x, in elements beyond a 16-byte boundary
  bool shift_all = false;
};

// The op and its gradient in float64.
struct Reference {
  std::vector<double> y, dx, dweight, dbias;
};

Reference reference(const Case& c, const std::vector<double>& x, const std::vector<double>& w,
                    const std::vector<double>& b, const std::vector<double>& dy) {
  Reference r{std::vector<double>(x.size()), std::vector<double>(x.size()),
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

template <class T>
void expect_layer_norm(const Case& c) {
  SCOPED_TRACE(testing::Message() << c.rows << " x " << c.cols << " affine " << c.affine
                                  << " residual " << c.residual << " shift " << c.shift);
  using C = compute_t<T>;
  const int64_t n = c.rows * c.cols, others = c.shift_all ? c.shift : 0;
  Buffer<T> x(n, c.shift), residual(n, others), sum(n, others), y(n, others), dy(n, others),
      dsum(n, others), dx(n, others), w(c.cols), b(c.cols), dw(c.cols), db(c.cols);
  Buffer<C> mean(c.rows), rstd(c.rows);
  Buffer<uint8_t> workspace(layer_norm_backward_workspace<T>(c.rows, c.cols));
  uint64_t seed = 0;
  for (auto* buffer : {&x, &residual, &dy, &dsum, &w, &b}) buffer->fill_random(++seed);
  const T* weight = c.affine ? w.data() : nullptr;
  const T* bias = c.affine ? b.data() : nullptr;
  if (c.residual) {
    add_layer_norm_forward<T>(nullptr, c.rows, c.cols, x.data(), residual.data(), weight, bias,
                              C(1e-5), sum.data(), y.data(), mean.data(), rstd.data());
  } else {
    layer_norm_forward<T>(nullptr, c.rows, c.cols, x.data(), weight, bias, C(1e-5), y.data(),
                          mean.data(), rstd.data());
  }
  const Buffer<T>& input = c.residual ? sum : x;
  add_layer_norm_backward<T>(nullptr, c.rows, c.cols, dy.data(), c.residual ? dsum.data() : nullptr,
                             input.data(), weight, mean.data(), rstd.data(), dx.data(), dw.data(),
                             db.data(), workspace.data());

  const std::vector<double> ones(c.cols, 1.0), zeros(c.cols, 0.0);
  Reference r = reference(c, input.values(), c.affine ? w.values() : ones,
                          c.affine ? b.values() : zeros, dy.values());
  if (c.residual) {
    expect_close<T>(sum.values(), added(x.values(), residual.values()), 1);
    r.dx = added(r.dx, dsum.values());
  }
  expect_close<T>(y.values(), r.y, 4);
  expect_close<T>(dx.values(), r.dx, 4);
  expect_close<T>(dw.values(), r.dweight, 4);
  expect_close<T>(db.values(), r.dbias, 4);
}

// Each instance of the kernel, whole and with a remainder of rows and columns.
const Case kCases[] = {
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
  for (const Case& c : kCases) expect_layer_norm<float>(c);
}
TEST(LayerNormKernel, BFloat16MatchesFloat64) {
  for (const Case& c : kCases) expect_layer_norm<BFloat16>(c);
}
TEST(LayerNormKernel, Float16MatchesFloat64) {
  for (const Case& c : kCases) expect_layer_norm<Float16>(c);
}

TEST(LayerNormKernel, Float64MatchesFloat64) {
  for (const Case& c : kCases) expect_layer_norm<double>(c);
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
                                   nullptr);
    add_layer_norm_backward<float>(nullptr, rows, cols, dy.data(), dsum.data(), sum.data(), nullptr,
                                   mean.data(), rstd.data(), dsum.data(), nullptr, nullptr,
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
