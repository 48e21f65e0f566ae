#include "kernels/types.h"

#include <gtest/gtest.h>

#include <cmath>

namespace plinth {
namespace {

// Every finite value of a narrow format must come back from float32 unchanged.
template <class T, class Bits>
void expect_round_trip(int count) {
  for (int i = 0; i < count; ++i) {
    T narrow;
    narrow.bits = static_cast<Bits>(i);
    const float wide = narrow;
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(T(wide))));
    } else if (std::isfinite(wide)) {
      EXPECT_EQ(T(wide).bits, narrow.bits) << "bits " << i;
    }
  }
}

// A float32 between two neighbours must go to the nearer, a tie to the even one.
template <class T>
void expect_nearest_even(int first_bits, int last_bits) {
  for (int i = first_bits; i < last_bits; ++i) {
    T low, high;
    low.bits = i;
    high.bits = i + 1;
    const float a = low, b = high;
    const float middle = a + (b - a) / 2;
    EXPECT_EQ(T(middle).bits, i % 2 == 0 ? i : i + 1) << "tie above bits " << i;
    EXPECT_EQ(T(std::nextafter(middle, a)).bits, i);
    EXPECT_EQ(T(std::nextafter(middle, b)).bits, i + 1);
  }
}

TEST(Types, BFloat16RoundTripsAndRounds) {
  expect_round_trip<BFloat16, uint16_t>(65536);
  expect_nearest_even<BFloat16>(0, 0x7f7e);
}

TEST(Types, Float16RoundTripsAndRounds) {
  expect_round_trip<Float16, uint16_t>(65536);
  expect_nearest_even<Float16>(0, 0x7bfe);
  EXPECT_TRUE(std::isinf(static_cast<float>(Float16(65520.0f))));
  EXPECT_EQ(static_cast<float>(Float16(65519.0f)), 65504.0f);
}

TEST(Types, Float8RoundTripsAndRounds) {
  expect_round_trip<Float8_e4m3, uint8_t>(256);
  expect_round_trip<Float8_e5m2, uint8_t>(256);
  expect_nearest_even<Float8_e4m3>(0, 0x7d);
  expect_nearest_even<Float8_e5m2>(0, 0x7a);
}

TEST(Types, Float8Saturates) {
  EXPECT_EQ(static_cast<float>(Float8_e4m3(1e9f)), 448.0f);
  EXPECT_EQ(static_cast<float>(Float8_e4m3(-1e9f)), -448.0f);
  EXPECT_EQ(static_cast<float>(Float8_e5m2(1e9f)), 57344.0f);
  EXPECT_EQ(static_cast<float>(Float8_e5m2(std::numeric_limits<float>::infinity())), 57344.0f);
}

}  // namespace
}  // namespace plinth
