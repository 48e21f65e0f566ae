#include "kernels/float8/float8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/types.h"

namespace plinth::kernels::cpu {
namespace {

constexpr float kFloatInfinity = std::numeric_limits<float>::infinity();
constexpr float kFloatNaN = std::numeric_limits<float>::quiet_NaN();

float scale_of(std::vector<float> amaxes, float largest = 448, float margin = 1) {
  float scale[2];
  float8_scale(static_cast<int64_t>(amaxes.size()), amaxes.data(), largest, margin, scale);
  EXPECT_EQ(scale[1], 1 / scale[0]);
  return scale[0];
}

TEST(Float8, ScaleBringsTheLargestToTheFormatsLargest) {
  EXPECT_EQ(scale_of({1, 7, 2}), 64);
  EXPECT_EQ(scale_of({7}, 448, 4), 16);
  EXPECT_EQ(scale_of({7}, 57344), 8192);
}

TEST(Float8, ScaleIsOneWhereThereIsNoUsefulAmax) {
  for (const float amax : {0.0f, kFloatInfinity, 1e-38f}) EXPECT_EQ(scale_of({amax}), 1) << amax;
}

TEST(Float8, AmaxIsTheLargestSizeAndIgnoresNaN) {
  std::vector<float> x(70 * 80, 0.5f);
  x[69 * 80 + 79] = -3;
  x[0] = kFloatNaN;
  std::vector<float> amaxes(float8_tiles(70, 80));
  ASSERT_EQ(amaxes.size(), 4u);
  float8_amax(70, 80, x.data(), amaxes.data());
  EXPECT_EQ(amaxes, (std::vector<float>{0.5f, 0.5f, 0.5f, 3}));
}

TEST(Float8, QuantisesBothWaysAndPadsWithZeros) {
  constexpr int64_t kRows = 5, kPadded = 16, kCols = 80;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(kRows * kCols);
  for (float& value : x) value = normal(random);
  const float scale[2] = {30, 1.0f / 30};
  std::vector<Float8_e5m2> q(kPadded * kCols), transposed(kPadded * kCols);
  float8_quantise(kRows, kPadded, kCols, x.data(), scale, q.data(), transposed.data(),
                  static_cast<float*>(nullptr));
  for (int64_t i = 0; i < kPadded; ++i) {
    for (int64_t j = 0; j < kCols; ++j) {
      const float value = i < kRows ? x[i * kCols + j] * 30 : 0;
      const float narrow = q[i * kCols + j];
      ASSERT_NEAR(narrow, value, std::fabs(value) / 8);  // half of e5m2's last bit
      ASSERT_EQ(transposed[j * kPadded + i].bits, q[i * kCols + j].bits);
    }
  }
}

TEST(Float8, QuantisedValuesSaturateAndKeepNaN) {
  std::vector<float> x(16 * 16, 1e6f);
  x[1] = -kFloatInfinity;
  x[2] = kFloatNaN;
  const float scale[2] = {1, 1};
  std::vector<Float8_e4m3> q(16 * 16);
  float8_quantise(16, 16, 16, x.data(), scale, q.data(), static_cast<Float8_e4m3*>(nullptr),
                  static_cast<float*>(nullptr));
  EXPECT_EQ(static_cast<float>(q[0]), 448);
  EXPECT_EQ(static_cast<float>(q[1]), -448);
  EXPECT_TRUE(std::isnan(static_cast<float>(q[2])));
}

TEST(Float8, AHistoryTakesTheNewestFirst) {
  std::vector<float> history = {3, 2, 1};
  const float amaxes[] = {4, 9, 5};
  float8_record(3, amaxes, 3, history.data());
  EXPECT_EQ(history, (std::vector<float>{9, 3, 2}));
}

}  // namespace
}  // namespace plinth::kernels::cpu
