#include "kernels/cross_entropy/cross_entropy_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct CrossEntropyCase {
  int64_t rows, classes;
  double smoothing;
  int64_t shift = 0;  // of the logits, in elements beyond a 16-byte boundary
};

// One vector, many, and remainders at both ends of the rows.
const CrossEntropyCase kCrossEntropyCases[] = {{1, 1, 0},       {3, 7, 0.1},   {5, 64, 0},
                                               {4, 257, 0.1},   {3, 1000, 0},  {2, 4099, 0.2},
                                               {3, 64, 0.1, 1}, {5, 129, 0, 3}};

// Against the CPU's float64 kernels, on the numbers that T holds. Row 1 is ignored.
template <class T>
void expect_cross_entropy(const CrossEntropyCase& c) {
  SCOPED_TRACE(testing::Message() << c.rows << " x " << c.classes << " smoothing " << c.smoothing
                                  << " shift " << c.shift);
  using C = compute_t<T>;
  const CrossEntropyDesc desc{c.rows, c.classes, -100, c.smoothing};
  const int64_t n = c.rows * c.classes;
  Buffer<T> logits(n, c.shift), dlogits(n, c.shift);
  Buffer<C> loss(c.rows), lse(c.rows), dloss(c.rows);
  Buffer<int64_t> target(c.rows);
  logits.fill_random(1);
  dloss.fill_random(2);
  for (int64_t i = 0; i < c.rows; ++i) target[i] = i == 1 ? -100 : (i * 31 + 5) % c.classes;
  cross_entropy_forward<T>(nullptr, desc, logits.data(), target.data(), loss.data(), lse.data());
  cross_entropy_backward<T>(nullptr, desc, dloss.data(), logits.data(), target.data(), lse.data(),
                            dlogits.data());

  const std::vector<double> z = logits.values(), slopes = dloss.values();
  std::vector<double> loss64(c.rows), lse64(c.rows), dlogits64(n);
  cpu::cross_entropy_forward<double>(desc, z.data(), target.data(), loss64.data(), lse64.data());
  cpu::cross_entropy_backward<double>(desc, slopes.data(), z.data(), target.data(), lse64.data(),
                                      dlogits64.data());
  expect_close<C>(loss.values(), loss64, 4);
  expect_close<C>(lse.values(), lse64, 4);
  expect_close<T>(dlogits.values(), dlogits64, 2);
  if (c.rows > 1) {
    EXPECT_EQ(loss[1], 0);
  }
}

TEST(CrossEntropyKernel, Float32MatchesFloat64) {
  for (const CrossEntropyCase& c : kCrossEntropyCases) expect_cross_entropy<float>(c);
}
TEST(CrossEntropyKernel, BFloat16MatchesFloat64) {
  for (const CrossEntropyCase& c : kCrossEntropyCases) expect_cross_entropy<BFloat16>(c);
}
TEST(CrossEntropyKernel, Float16MatchesFloat64) {
  for (const CrossEntropyCase& c : kCrossEntropyCases) expect_cross_entropy<Float16>(c);
}
TEST(CrossEntropyKernel, Float64MatchesFloat64) {
  for (const CrossEntropyCase& c : kCrossEntropyCases) expect_cross_entropy<double>(c);
}

TEST(CrossEntropyKernel, GradientMayOverwriteTheLogits) {
  const CrossEntropyDesc desc{3, 133, -1, 0.1};
  Buffer<float> logits(3 * 133), dlogits(3 * 133), loss(3), lse(3);
  Buffer<int64_t> target(3);
  logits.fill_random(1);
  target.copy_from({4, -1, 132});
  cross_entropy_forward<float>(nullptr, desc, logits.data(), target.data(), loss.data(),
                               lse.data());
  cross_entropy_backward<float>(nullptr, desc, loss.data(), logits.data(), target.data(),
                                lse.data(), dlogits.data());
  cross_entropy_backward<float>(nullptr, desc, loss.data(), logits.data(), target.data(),
                                lse.data(), logits.data());
  EXPECT_EQ(logits.values(), dlogits.values());
}

TEST(CrossEntropyKernel, BadTargetsAreFoundAndReadNothing) {
  const CrossEntropyDesc desc{4, 8, -100, 0};
  Buffer<float> logits(32), loss(4), lse(4);
  Buffer<int64_t> target(4);
  logits.fill_random(1);
  target.copy_from({7, -100, 8, -1});
  cross_entropy_forward<float>(nullptr, desc, logits.data(), target.data(), loss.data(),
                               lse.data());
  EXPECT_TRUE(loss[0] > 0);
  EXPECT_EQ(loss[1], 0);
  EXPECT_TRUE(std::isnan(loss[2]) && std::isnan(loss[3]));
}

TEST(CrossEntropyKernel, TheFirstBadTargetIsReportedOnce) {
  Buffer<int64_t> target(4);
  target.copy_from({7, -100, 8, -1});
  OnDevice<IndexFault> fault{};
  report_bad_target(nullptr, 2, 8, -100, target.data(), 1, &fault.value);
  EXPECT_EQ(fault.value.check, 0);
  report_bad_target(nullptr, 4, 8, -100, target.data(), 2, &fault.value);
  EXPECT_EQ(fault.value.check, 2);
  EXPECT_EQ(fault.value.element, 2);
  EXPECT_EQ(fault.value.value, 8);
  Buffer<int64_t> many(3000);
  for (int64_t i = 0; i < 3000; ++i) many[i] = i >= 1500 && i % 2 == 1 ? 9 : 3;
  report_bad_target(nullptr, 3000, 8, -100, many.data(), 3, &fault.value);
  EXPECT_EQ(fault.value.check, 2);  // what was found first stays
  fault.value = {};
  report_bad_target(nullptr, 3000, 8, -100, many.data(), 3, &fault.value);
  EXPECT_EQ(fault.value.check, 3);
  EXPECT_EQ(fault.value.element, 1501);
}

TEST(CrossEntropyKernel, MeanScaleCountsTargetsThatAreNotIgnored) {
  Buffer<int64_t> target(3000);
  Buffer<float> scale(1);
  for (int64_t i = 0; i < 3000; ++i) target[i] = i % 3 == 0 ? -1 : i % 7;
  mean_scale(nullptr, 3000, -1, target.data(), scale.data());
  EXPECT_EQ(scale[0], static_cast<float>(1.0 / 2000));
  mean_scale(nullptr, 1, -1, target.data(), scale.data());
  EXPECT_EQ(scale[0], 0);
}

}  // namespace
}  // namespace plinth::kernels::cuda
