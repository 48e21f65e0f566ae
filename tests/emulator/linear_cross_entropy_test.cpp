#include "kernels/linear_cross_entropy/linear_cross_entropy_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct LinearCrossEntropyCase {
  int64_t rows, vocab, stride;
  double smoothing, z_loss;
  int64_t shift = 0;  // of the logits, in elements beyond a 16-byte boundary
};

const LinearCrossEntropyCase kLinearCrossEntropyCases[] = {
    {1, 1, 1, 0, 0},          {3, 7, 8, 0.1, 0},        {4, 64, 64, 0, 1e-2},
    {3, 257, 264, 0.1, 1e-2}, {3, 1003, 1003, 0, 0},    {2, 4099, 4104, 0.2, 0},
    {3, 64, 64, 0, 1e-2, 1},  {5, 129, 131, 0.1, 0, 3}, {1, 16401, 16401, 0.1, 1e-3}};

struct LinearCrossEntropyReference {
  std::vector<double> loss, dz;
};

// In float64, by the formulas; dz keeps NaN between the rows.
LinearCrossEntropyReference linear_cross_entropy_reference(const LinearCrossEntropyCase& c,
                                                           const std::vector<double>& z,
                                                           const std::vector<int64_t>& target,
                                                           double row_scale) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  LinearCrossEntropyReference r{std::vector<double>(c.rows),
                                std::vector<double>(c.rows * c.stride, nan)};
  for (int64_t i = 0; i < c.rows; ++i) {
    const double* row = &z[i * c.stride];
    double total = 0, plain = 0;
    for (int64_t j = 0; j < c.vocab; ++j) {
      total += std::exp(row[j]);
      plain += row[j];
    }
    const double lse = std::log(total), uniform = c.smoothing / c.vocab;
    const bool counts = target[i] >= 0;
    if (counts)
      r.loss[i] = lse - (1 - c.smoothing) * row[target[i]] - uniform * plain + c.z_loss * lse * lse;
    for (int64_t j = 0; j < c.vocab; ++j) {
      const double p = std::exp(row[j] - lse);
      const double at_target = j == target[i] ? 1 - c.smoothing : 0;
      r.dz[i * c.stride + j] =
          counts ? row_scale * ((1 + 2 * c.z_loss * lse) * p - at_target - uniform) : 0;
    }
  }
  return r;
}

// The columns of the rows, without what lies between.
std::vector<double> columns(const LinearCrossEntropyCase& c, const std::vector<double>& matrix) {
  std::vector<double> result;
  for (int64_t i = 0; i < c.rows; ++i)
    result.insert(result.end(), matrix.begin() + i * c.stride,
                  matrix.begin() + i * c.stride + c.vocab);
  return result;
}

template <class Z, class D>
void expect_rows(const LinearCrossEntropyCase& c, int64_t dz_shift) {
  SCOPED_TRACE(testing::Message() << c.rows << " x " << c.vocab << " of " << c.stride
                                  << " smoothing " << c.smoothing << " z loss " << c.z_loss
                                  << " shifts " << c.shift << ' ' << dz_shift);
  using C = compute_t<Z>;
  const LinearCrossEntropyDesc desc{c.rows, 0, c.vocab, -100, c.smoothing, c.z_loss};
  Buffer<Z> z(c.rows * c.stride, c.shift);
  Buffer<D> dz(c.rows * c.stride, dz_shift);
  Buffer<C> loss(c.rows), scale(1);
  scale[0] = C(0.25);
  Buffer<int64_t> target(c.rows);
  z.fill_random(1);
  for (int64_t i = 0; i < c.rows; ++i) target[i] = i == 1 ? -100 : (i * 31 + 5) % c.vocab;
  linear_cross_entropy_rows<Z, D>(nullptr, desc, c.stride, z.data(), target.data(), loss.data(),
                                  dz.data(), scale.data());
  const LinearCrossEntropyReference r = linear_cross_entropy_reference(
      c, z.values(), std::vector<int64_t>(target.data(), target.data() + c.rows), 0.25);
  expect_close<C>(loss.values(), r.loss, 8);
  expect_close<D>(columns(c, dz.values()), columns(c, r.dz), 2);
  for (int64_t i = 0; i < c.rows; ++i) {
    for (int64_t j = c.vocab; j < c.stride; ++j)
      ASSERT_TRUE(std::isnan(static_cast<C>(dz[i * c.stride + j])));
  }
}

TEST(LinearCrossEntropyRows, Float32MatchesFloat64) {
  for (const LinearCrossEntropyCase& c : kLinearCrossEntropyCases)
    expect_rows<float, float>(c, c.shift);
}
TEST(LinearCrossEntropyRows, BFloat16MatchesFloat64) {
  for (const LinearCrossEntropyCase& c : kLinearCrossEntropyCases)
    expect_rows<BFloat16, BFloat16>(c, c.shift);
}
TEST(LinearCrossEntropyRows, Float16MatchesFloat64) {
  for (const LinearCrossEntropyCase& c : kLinearCrossEntropyCases)
    expect_rows<Float16, Float16>(c, c.shift);
}
TEST(LinearCrossEntropyRows, Float64MatchesFloat64) {
  for (const LinearCrossEntropyCase& c : kLinearCrossEntropyCases)
    expect_rows<double, double>(c, c.shift);
}
TEST(LinearCrossEntropyRows, Float32LogitsGiveNarrowGradients) {
  for (const LinearCrossEntropyCase& c : kLinearCrossEntropyCases) {
    expect_rows<float, BFloat16>(c, c.shift);
    expect_rows<float, Float16>(c, c.shift + 4);
    expect_rows<float, Float16>(c, c.shift + 1);
  }
}

// Five rows for three multiprocessors, the second ignored.
TEST(LinearCrossEntropyRows, LongRowsAreKeptInSharedMemory) {
  const LinearCrossEntropyCase cases[] = {{5, 32773, 32776, 0, 0}, {5, 40000, 40000, 0.1, 1e-3}};
  for (const LinearCrossEntropyCase& c : cases) {
    expect_rows<float, float>(c, 0);
    expect_rows<float, BFloat16>(c, 0);
    // As where no block has room.
    const size_t before = std::exchange(device::device_limits().shared_bytes, 100 << 10);
    expect_rows<float, BFloat16>(c, 0);
    device::device_limits().shared_bytes = before;
  }
}

TEST(LinearCrossEntropyRows, GradientOverwritesTheLogitsAndLossesComeWithoutIt) {
  const LinearCrossEntropyDesc desc{3, 0, 133, -1, 0.1, 1e-3};
  Buffer<float> z(3 * 136), dz(3 * 136), loss(3), again(3);
  Buffer<int64_t> target(3);
  z.fill_random(1);
  dz.copy_from(std::vector<float>(z.data(), z.data() + 3 * 136));  // what lies between the rows
  target.copy_from({4, -1, 132});
  linear_cross_entropy_rows<float, float>(nullptr, desc, 136, z.data(), target.data(), loss.data(),
                                          nullptr, nullptr);
  linear_cross_entropy_rows<float, float>(nullptr, desc, 136, z.data(), target.data(), again.data(),
                                          dz.data(), nullptr);
  EXPECT_EQ(again.values(), loss.values());
  linear_cross_entropy_rows<float, float>(nullptr, desc, 136, z.data(), target.data(), again.data(),
                                          z.data(), nullptr);
  EXPECT_EQ(again.values(), loss.values());
  EXPECT_EQ(z.values(), dz.values());
}

TEST(LinearCrossEntropyRows, BadTargetGivesNaNAndReadsNothing) {
  const LinearCrossEntropyDesc desc{2, 0, 8, -100, 0, 0};
  Buffer<float> z(16), dz(16), loss(2);
  Buffer<int64_t> target(2);
  z.fill_random(1);
  target.copy_from({8, -1});
  linear_cross_entropy_rows<float, float>(nullptr, desc, 8, z.data(), target.data(), loss.data(),
                                          dz.data(), nullptr);
  EXPECT_TRUE(std::isnan(loss[0]) && std::isnan(loss[1]));
}

}  // namespace
}  // namespace plinth::kernels::cuda
