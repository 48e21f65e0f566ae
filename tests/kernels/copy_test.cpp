#include "kernels/elementwise/elementwise.h"

#include <numeric>

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

using AllTypes = ::testing::Types<double, float, BFloat16, Float16, Float8_e4m3, Float8_e5m2,
                                  int64_t, int32_t, uint8_t, bool>;

// n contiguous elements, converted.
template <class From, class To>
void cast(int64_t n, const From* x, To* out) {
  Loop<2> loop;
  loop.dims = 1;
  loop.size[0] = n;
  loop.stride[0][0] = loop.stride[1][0] = 1;
  copy(loop, x, out);
}

template <class To, class From>
To cast_one(From x) {
  To out;
  cast(1, &x, &out);
  return out;
}

template <class T>
class Cast : public ::testing::Test {};
TYPED_TEST_SUITE(Cast, AllTypes);

// Small integers are exact in every type, so every pair must keep them.
template <class From, class To>
void expect_small_integers_kept() {
  for (int64_t n : {0, 1, 17, 40000}) {
    std::vector<int64_t> values(n);
    for (int64_t i = 0; i < n; ++i) values[i] = std::is_same_v<From, bool> ? i % 2 : i % 9;
    auto x = std::make_unique<From[]>(n);
    auto out = std::make_unique<To[]>(n);
    cast(n, values.data(), x.get());
    cast(n, x.get(), out.get());
    for (int64_t i = 0; i < n; ++i) {
      const int64_t expected = std::is_same_v<To, bool> ? values[i] != 0 : values[i];
      ASSERT_EQ(cast_one<int64_t>(out[i]), expected) << "element " << i << " of " << n;
    }
  }
}

template <class From, class... To>
void expect_small_integers_kept_by_all(::testing::Types<To...>) {
  (expect_small_integers_kept<From, To>(), ...);
}

TYPED_TEST(Cast, EveryPairKeepsSmallIntegers) {
  expect_small_integers_kept_by_all<TypeParam>(AllTypes{});
}

// The copy of x of shape `size`, row-major, that has its dimensions in another order.
template <class From, class To>
void expect_turned(std::array<int64_t, 3> size, std::array<int, 3> order) {
  const std::array<int64_t, 3> of_x = {size[1] * size[2], size[2], 1};
  Loop<2> loop;
  loop.dims = 3;
  int64_t count = 1;
  for (int d = 2; d >= 0; --d) {
    loop.size[d] = size[order[d]];
    loop.stride[0][d] = count;
    loop.stride[1][d] = of_x[order[d]];
    count *= loop.size[d];
  }
  std::vector<From> x(count);
  for (int64_t i = 0; i < count; ++i) x[i] = static_cast<From>(static_cast<float>(i % 251));
  std::vector<To> out(count);
  copy(loop, x.data(), out.data());
  int64_t at = 0;
  for (int64_t i = 0; i < loop.size[0]; ++i)
    for (int64_t j = 0; j < loop.size[1]; ++j)
      for (int64_t k = 0; k < loop.size[2]; ++k) {
        const int64_t from = i * loop.stride[1][0] + j * loop.stride[1][1] + k * loop.stride[1][2];
        ASSERT_EQ(static_cast<float>(out[at++]), static_cast<float>(x[from]))
            << i << ", " << j << ", " << k;
      }
}

TEST(Copy, TurnsDimensionsOfAnySize) {
  for (const std::array<int64_t, 3> size :
       {std::array<int64_t, 3>{3, 67, 45}, {1, 256, 64}, {33, 32, 65}, {40, 2, 31}, {0, 64, 64}}) {
    for (const std::array<int, 3> order :
         {std::array<int, 3>{0, 2, 1}, {2, 0, 1}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}}) {
      expect_turned<float, float>(size, order);
      expect_turned<BFloat16, float>(size, order);
      expect_turned<float, BFloat16>(size, order);
      expect_turned<double, int64_t>(size, order);
    }
  }
}

TEST(Copy, ReadsShortRowsOfManyDimensionsAtTheirOffsets) {
  Loop<2> loop;
  loop.dims = 5;
  loop.size = {7, 3, 1, 400, 2};
  loop.stride[0] = {2400, 800, 800, 2, 1};
  loop.stride[1] = {1, 7, 0, 21, 0};
  std::vector<float> x(8400);
  std::iota(x.begin(), x.end(), 0.F);
  std::vector<float> out(16800);
  copy(loop, x.data(), out.data());
  for (int64_t row = 0; row < loop.rows(); ++row) {
    const auto at = loop.offsets(row);
    for (int64_t i = 0; i < 2; ++i) ASSERT_EQ(out[at[0] + i], x[at[1]]) << "row " << row;
  }
}

TEST(CastToNarrowFloat, RoundsToNearestEven) {
  EXPECT_EQ(cast_one<BFloat16>(1.00390625).bits, 0x3f80);  // a tie
  EXPECT_EQ(cast_one<BFloat16>(1.01171875f).bits, 0x3f82);
  EXPECT_EQ(cast_one<Float16>(65519.0f).bits, 0x7bff);
  EXPECT_EQ(cast_one<Float16>(65520.0f).bits, 0x7c00);
  EXPECT_EQ(cast_one<Float8_e4m3>(1000.0).bits, 0x7e);
  EXPECT_EQ(cast_one<float>(0.1), 0.1f);
}

// The vector loops must agree with the scalar conversions, whatever the length and value.
TEST(CastToNarrowFloat, LoopsAgreeWithScalars) {
  std::vector<float> x;
  for (uint32_t bits = 0; bits < 0xffff0000u; bits += 65521)
    x.push_back(std::bit_cast<float>(bits));
  std::vector<BFloat16> b(x.size());
  std::vector<Float16> h(x.size());
  cast(x.size(), x.data(), b.data());
  cast(x.size(), x.data(), h.data());
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) {
      ASSERT_TRUE(std::isnan(float(b[i])) && std::isnan(float(h[i])));
    } else {
      ASSERT_EQ(b[i].bits, BFloat16(x[i]).bits) << x[i];
      ASSERT_EQ(h[i].bits, Float16(x[i]).bits) << x[i];
    }
  }
}

TEST(CastFromNarrowFloat, LoopsAgreeWithScalars) {
  std::vector<BFloat16> b(65536);
  std::vector<Float16> h(65536);
  for (int i = 0; i < 65536; ++i) b[i].bits = h[i].bits = i;
  std::vector<float> from_b(65536), from_h(65536);
  cast(65536, b.data(), from_b.data());
  cast(65536, h.data(), from_h.data());
  for (int i = 0; i < 65536; ++i) {
    ASSERT_TRUE(from_b[i] == float(b[i]) || std::isnan(float(b[i]))) << i;
    ASSERT_TRUE(from_h[i] == float(h[i]) || std::isnan(float(h[i]))) << i;
    ASSERT_EQ(std::isnan(from_h[i]), std::isnan(float(h[i])));
  }
}

TEST(CastToInteger, TruncatesAndSaturates) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(cast_one<int32_t>(2.9), 2);
  EXPECT_EQ(cast_one<int32_t>(-2.9f), -2);
  EXPECT_EQ(cast_one<int32_t>(1e30f), std::numeric_limits<int32_t>::max());
  EXPECT_EQ(cast_one<int32_t>(-infinity), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(cast_one<int32_t>(2147483647.0), 2147483647);
  EXPECT_EQ(cast_one<int64_t>(infinity), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(cast_one<int64_t>(-1e30), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(cast_one<int64_t>(std::nan("")), 0);
  EXPECT_EQ(cast_one<uint8_t>(255.9f), 255);
  EXPECT_EQ(cast_one<uint8_t>(-3.0f), 0);
  EXPECT_EQ(cast_one<uint8_t>(BFloat16(300.0f)), 255);
  EXPECT_EQ(cast_one<uint8_t>(int64_t{257}), 1);
}

TEST(CastToBool, IsNotZero) {
  EXPECT_TRUE(cast_one<bool>(0.25f));
  EXPECT_TRUE(cast_one<bool>(std::nan("")));
  EXPECT_TRUE(cast_one<bool>(Float16(-1.0f)));
  EXPECT_FALSE(cast_one<bool>(-0.0));
  EXPECT_TRUE(cast_one<bool>(int64_t{1} << 40));
}

}  // namespace
}  // namespace plinth::kernels::cpu
