#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "kernels/device_loop.cuh"
#include "kernels/elementwise/elementwise_cuda.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

using Strides = std::vector<int64_t>;

template <int kOperands>
Loop<kOperands> loop_of(const std::vector<int64_t>& sizes,
                        const std::array<Strides, kOperands>& strides) {
  Loop<kOperands> loop;
  loop.dims = static_cast<int>(sizes.size());
  for (int d = 0; d < loop.dims; ++d) {
    loop.size[d] = sizes[d];
    for (int k = 0; k < kOperands; ++k) loop.stride[k][d] = strides[k][d];
  }
  return loop;
}

// Layouts of (out, x, y): each reaches below 1024 elements of its operands, beginning at `first`.
struct Layout {
  const char* name;
  std::vector<int64_t> sizes;
  std::array<Strides, 3> strides;
  int64_t first = 0;
};
const Layout kLayouts[] = {
    {"contiguous", {512}, {{{1}, {1}, {1}}}},
    {"a remainder of a vector", {1003}, {{{1}, {1}, {1}}}},
    {"one element", {1}, {{{1}, {1}, {1}}}},
    {"misaligned", {200}, {{{1}, {1}, {1}}}, 1},
    {"y is a scalar", {37}, {{{1}, {1}, {0}}}},
    {"x is a scalar", {64}, {{{1}, {0}, {1}}}},
    {"y repeats along rows", {7, 48}, {{{48, 1}, {48, 1}, {0, 1}}}},
    {"y repeats along columns", {7, 48}, {{{48, 1}, {48, 1}, {1, 0}}}},
    {"rows of odd length", {5, 13}, {{{13, 1}, {13, 1}, {0, 1}}}},
    {"a pitch that is no whole vector", {5, 16}, {{{17, 1}, {17, 1}, {16, 1}}}},
    {"x is transposed", {9, 20}, {{{20, 1}, {1, 9}, {20, 1}}}},
    {"all are transposed", {16, 32}, {{{1, 16}, {1, 16}, {1, 16}}}},
    {"every second element", {4, 30}, {{{30, 1}, {60, 2}, {90, 3}}}},
    {"the output has gaps", {3, 16}, {{{64, 2}, {16, 1}, {16, 1}}}},
    {"four dimensions", {3, 2, 5, 16}, {{{160, 80, 16, 1}, {32, 16, 0, 1}, {80, 0, 16, 1}}}},
    {"eight dimensions",
     {2, 1, 3, 1, 2, 2, 1, 4},
     {{{48, 48, 16, 16, 8, 4, 4, 1}, {1, 0, 2, 0, 6, 12, 0, 24}, {0, 0, 4, 0, 0, 1, 0, 1}}}},
    {"no dimension", {}, {{{}, {}, {}}}},
    {"an empty dimension", {4, 0, 3}, {{{3, 3, 1}, {3, 3, 1}, {3, 3, 1}}}},
};
constexpr int64_t kElements = 1024;

template <int kOperands>
Loop<kOperands> operands(const Layout& layout, const std::array<int, kOperands>& which) {
  std::array<Strides, kOperands> strides;
  for (int k = 0; k < kOperands; ++k) strides[k] = layout.strides[which[k]];
  return loop_of<kOperands>(layout.sizes, strides);
}

// Values with both signs, halves where T has them.
template <class T>
void fill_operand(Buffer<T>& buffer, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int64_t i = 0; i < kElements; ++i) {
    const auto whole = static_cast<int64_t>(random() % 13) - 6;
    if constexpr (std::is_integral_v<T>) {
      buffer[i] = static_cast<T>(whole);
    } else {
      buffer[i] = T(static_cast<float>(whole) * 0.375f);
    }
  }
}

template <class T>
void clear(Buffer<T>& buffer) {
  std::memset(static_cast<void*>(buffer.data()), 0, kElements * sizeof(T));
}

template <class T>
bool same_bits(const Buffer<T>& a, const Buffer<T>& b) {
  return std::memcmp(a.data(), b.data(), kElements * sizeof(T)) == 0;
}

// Equal, or within two roundings; NaN where the other is NaN. Where nothing was written both are 0.
template <class T>
void expect_near(const Buffer<T>& actual, const Buffer<T>& expected) {
  const auto a = actual.values(), e = expected.values();
  for (int64_t i = 0; i < kElements; ++i) {
    if (std::isnan(e[i])) {
      ASSERT_TRUE(std::isnan(a[i])) << "element " << i;
    } else if (std::isinf(e[i])) {
      ASSERT_EQ(a[i], e[i]) << "element " << i;
    } else {
      ASSERT_NEAR(a[i], e[i], 2 * rounding<T>() * std::fabs(e[i])) << "element " << i;
    }
  }
}

template <class T>
void check_unary(UnaryOp op) {
  Buffer<T> x(kElements), actual(kElements), expected(kElements);
  fill_operand(x, 1);
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(testing::Message() << layout.name << ", op " << static_cast<int>(op));
    clear(actual);
    clear(expected);
    const auto loop = operands<2>(layout, {0, 1});
    cpu::unary(op, loop, x.data() + layout.first, expected.data() + layout.first);
    unary(nullptr, op, loop, x.data() + layout.first, actual.data() + layout.first);
    expect_near(actual, expected);
  }
}

template <class T>
void check_binary() {
  Buffer<T> x(kElements), y(kElements), actual(kElements), expected(kElements);
  fill_operand(x, 1);
  fill_operand(y, 2);
  for (const Layout& layout : kLayouts) {
    for (int op = 0; op <= static_cast<int>(BinaryOp::Minimum); ++op) {
      // A negative integer power has no value that both sides must agree on.
      if (std::is_integral_v<T> && op == static_cast<int>(BinaryOp::Pow)) continue;
      SCOPED_TRACE(testing::Message() << layout.name << ", op " << op);
      clear(actual);
      clear(expected);
      const auto loop = operands<3>(layout, {0, 1, 2});
      const int64_t f = layout.first;
      cpu::binary(BinaryOp{op}, loop, x.data() + f, y.data() + f, expected.data() + f);
      binary(nullptr, BinaryOp{op}, loop, x.data() + f, y.data() + f, actual.data() + f);
      if (std::is_integral_v<T>) {
        ASSERT_TRUE(same_bits(actual, expected));
      }
      expect_near(actual, expected);
    }
  }
}

template <class T>
void check_compare() {
  Buffer<T> x(kElements), y(kElements);
  Buffer<bool> actual(kElements), expected(kElements);
  fill_operand(x, 1);
  fill_operand(y, 2);
  for (const Layout& layout : kLayouts) {
    for (int op = 0; op <= static_cast<int>(CompareOp::Ge); ++op) {
      SCOPED_TRACE(testing::Message() << layout.name << ", op " << op);
      clear(actual);
      clear(expected);
      const auto loop = operands<3>(layout, {0, 1, 2});
      const int64_t f = layout.first;
      cpu::compare(CompareOp{op}, loop, x.data() + f, y.data() + f, expected.data() + f);
      compare(nullptr, CompareOp{op}, loop, x.data() + f, y.data() + f, actual.data() + f);
      ASSERT_TRUE(same_bits(actual, expected));
    }
  }
}

template <class T>
void check_where() {
  Buffer<T> x(kElements), y(kElements), actual(kElements), expected(kElements);
  Buffer<bool> condition(kElements);
  fill_operand(x, 1);
  fill_operand(y, 2);
  for (int64_t i = 0; i < kElements; ++i) condition[i] = i % 3 == 0;
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(layout.name);
    for (const int which : {0, 2}) {  // the condition's strides: the output's, or y's
      clear(actual);
      clear(expected);
      const auto loop = operands<4>(layout, {0, which, 1, 2});
      const int64_t f = layout.first;
      cpu::where(loop, condition.data() + f, x.data() + f, y.data() + f, expected.data() + f);
      where(nullptr, loop, condition.data() + f, x.data() + f, y.data() + f, actual.data() + f);
      ASSERT_TRUE(same_bits(actual, expected));
    }
  }
}

template <class From, class To>
void check_copy() {
  Buffer<From> x(kElements);
  Buffer<To> actual(kElements), expected(kElements);
  fill_operand(x, 3);
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(layout.name);
    clear(actual);
    clear(expected);
    const auto loop = operands<2>(layout, {0, 1});
    cpu::copy(loop, x.data() + layout.first, expected.data() + layout.first);
    copy(nullptr, loop, x.data() + layout.first, actual.data() + layout.first);
    ASSERT_TRUE(same_bits(actual, expected));
  }
}

template <class... T>
struct Types {};
using AllTypes = Types<double, float, BFloat16, Float16, Float8_e4m3, Float8_e5m2, int64_t, int32_t,
                       uint8_t, bool>;

template <class From, class... To>
void check_copies_to(Types<To...>) {
  (check_copy<From, To>(), ...);
}
template <class... From>
void check_copies(Types<From...>) {
  (check_copies_to<From>(AllTypes{}), ...);
}

TEST(ElementwiseKernel, UnaryFunctionsMatchTheCpu) {
  for (int op = 0; op <= static_cast<int>(UnaryOp::Round); ++op) {
    check_unary<float>(UnaryOp{op});
    check_unary<BFloat16>(UnaryOp{op});
    check_unary<Float16>(UnaryOp{op});
    check_unary<double>(UnaryOp{op});
  }
  for (const UnaryOp op : {UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Square, UnaryOp::Sign}) {
    check_unary<int64_t>(op);
    check_unary<int32_t>(op);
    check_unary<uint8_t>(op);
  }
}

TEST(ElementwiseKernel, BinaryFunctionsMatchTheCpu) {
  check_binary<double>();
  check_binary<float>();
  check_binary<BFloat16>();
  check_binary<Float16>();
  check_binary<int64_t>();
  check_binary<int32_t>();
  check_binary<uint8_t>();
}

TEST(ElementwiseKernel, IntegerPowersMatchTheCpu) {
  Buffer<int64_t> x(8), y(8), actual(8);
  for (int64_t i = 0; i < 8; ++i) {
    x[i] = i - 3;
    y[i] = i % 4;
  }
  binary(nullptr, BinaryOp::Pow, loop_of<3>({8}, {{{1}, {1}, {1}}}), x.data(), y.data(),
         actual.data());
  EXPECT_EQ(actual.values(), (std::vector<double>{1, -2, 1, 0, 1, 2, 9, 64}));
}

template <class Y>
void check_add_scaled() {
  Buffer<float> x(kElements), actual(kElements), expected(kElements);
  Buffer<Y> y(kElements);
  fill_operand(x, 1);
  fill_operand(y, 2);
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(layout.name);
    clear(actual);
    clear(expected);
    const auto loop = operands<3>(layout, {0, 1, 2});
    cpu::add_scaled(loop, x.data(), y.data(), 0.25, expected.data());
    add_scaled(nullptr, loop, x.data(), y.data(), 0.25, actual.data());
    expect_near(actual, expected);
  }
}

TEST(ElementwiseKernel, AddScaledMatchesTheCpu) {
  check_add_scaled<float>();
  check_add_scaled<BFloat16>();
  check_add_scaled<Float16>();
}

TEST(ElementwiseKernel, ComparisonsMatchTheCpu) {
  check_compare<double>();
  check_compare<float>();
  check_compare<BFloat16>();
  check_compare<Float16>();
  check_compare<int64_t>();
  check_compare<int32_t>();
  check_compare<uint8_t>();
  check_compare<bool>();
}

TEST(ElementwiseKernel, LogicMatchesTheCpu) {
  Buffer<bool> x(kElements), y(kElements), actual(kElements), expected(kElements);
  for (int64_t i = 0; i < kElements; ++i) {
    x[i] = i % 3 == 0;
    y[i] = i % 2 == 0;
  }
  for (const LogicalOp op : {LogicalOp::And, LogicalOp::Or, LogicalOp::Xor}) {
    for (const Layout& layout : kLayouts) {
      SCOPED_TRACE(layout.name);
      clear(actual);
      clear(expected);
      const auto loop = operands<3>(layout, {0, 1, 2});
      cpu::logical(op, loop, x.data(), y.data(), expected.data());
      logical(nullptr, op, loop, x.data(), y.data(), actual.data());
      ASSERT_TRUE(same_bits(actual, expected));
    }
  }
}

TEST(ElementwiseKernel, WhereMatchesTheCpu) {
  check_where<double>();
  check_where<float>();
  check_where<BFloat16>();
  check_where<bool>();
}

TEST(ElementwiseKernel, EveryConversionMatchesTheCpu) {
  check_copies(AllTypes{});
}

TEST(ElementwiseKernel, ConversionsSaturateAndTruncateAsOnTheCpu) {
  Buffer<float> x(kElements);
  Buffer<int32_t> actual(kElements), expected(kElements);
  Buffer<Float8_e4m3> narrow(kElements), narrow_expected(kElements);
  const float values[] = {2.9f,
                          -2.9f,
                          1e30f,
                          -1e30f,
                          std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN(),
                          448.0f,
                          1e-4f};
  for (int64_t i = 0; i < kElements; ++i) x[i] = values[i % 8];
  const auto loop = loop_of<2>({kElements}, {{{1}, {1}}});
  cpu::copy(loop, x.data(), expected.data());
  copy(nullptr, loop, x.data(), actual.data());
  EXPECT_TRUE(same_bits(actual, expected));
  cpu::copy(loop, x.data(), narrow_expected.data());
  copy(nullptr, loop, x.data(), narrow.data());
  EXPECT_TRUE(same_bits(narrow, narrow_expected));
}

// Tiles with remainders on either side, batches before and between the swapped dimensions.
template <class T>
void check_transposes() {
  struct Case {
    std::vector<int64_t> sizes;
    Strides out, x;
  };
  const Case cases[] = {
      {{16, 16}, {16, 1}, {1, 16}},
      {{70, 33}, {33, 1}, {1, 70}},
      {{65, 129}, {130, 1}, {1, 67}},
      {{3, 20, 40}, {800, 40, 1}, {800, 1, 20}},
      {{18, 3, 40}, {120, 40, 1}, {1, 18, 54}},
      {{2, 17, 3, 24}, {1224, 72, 24, 1}, {1224, 1, 17, 51}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message() << c.sizes[0] << " x " << c.sizes[1]);
    constexpr int64_t n = 9000;
    Buffer<T> x(n), actual(n), expected(n);
    for (int64_t i = 0; i < n; ++i) {
      x[i] = static_cast<T>(static_cast<float>(i % 251));
      actual[i] = expected[i] = T(0);
    }
    const auto loop = loop_of<2>(c.sizes, {c.out, c.x});
    cpu::copy(loop, x.data(), expected.data());
    copy(nullptr, loop, x.data(), actual.data());
    ASSERT_EQ(std::memcmp(actual.data(), expected.data(), n * sizeof(T)), 0);
  }
}

TEST(ElementwiseKernel, SwappedDimensionsAreCopiedThroughTiles) {
  check_transposes<uint8_t>();
  check_transposes<BFloat16>();
  check_transposes<float>();
  check_transposes<double>();
}

TEST(ElementwiseKernel, FillWritesEveryElementAndNoOther) {
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(layout.name);
    Buffer<BFloat16> out(kElements), expected(kElements), seven(1);
    clear(out);
    clear(expected);
    seven[0] = BFloat16(7.0f);
    const auto loop = operands<1>(layout, {0});
    fill(nullptr, loop, seven[0], out.data() + layout.first);
    Loop<2> repeated = operands<2>(layout, {0, 0});
    repeated.stride[1] = {};
    cpu::copy(repeated, seven.data(), expected.data() + layout.first);
    ASSERT_TRUE(same_bits(out, expected));
  }
}

TEST(ElementwiseKernel, OutputMayBeAnInput) {
  Buffer<float> x(kElements), y(kElements), expected(kElements);
  fill_operand(x, 1);
  fill_operand(y, 2);
  const auto loop = loop_of<3>({1003}, {{{1}, {1}, {1}}});
  std::memcpy(expected.data(), x.data(), kElements * sizeof(float));
  cpu::binary(BinaryOp::Sub, loop, expected.data(), y.data(), expected.data());
  binary(nullptr, BinaryOp::Sub, loop, x.data(), y.data(), x.data());
  EXPECT_TRUE(same_bits(x, expected));
}

TEST(DeviceLoop, DivisionIsExact) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200000; ++i) {
    const auto by = static_cast<int64_t>(random() >> (33 + random() % 31)) + 1;
    const auto n = static_cast<uint32_t>(random() >> (33 + random() % 31));
    for (const uint32_t value : {n, uint32_t(by - 1), uint32_t(by), 0x7fffffffu, 0u}) {
      if (value > 0x7fffffffu) continue;
      ASSERT_EQ(Division(by).quotient(value), value / by) << value << " / " << by;
    }
  }
}

TEST(DeviceLoop, EqualLayoutsBecomeOneDimension) {
  const auto loop = simplified(loop_of<2>({4, 1, 3, 5}, {{{5, 7, 20, 1}, {5, 9, 20, 1}}}));
  EXPECT_EQ(loop.dims, 1);
  EXPECT_EQ(loop.size[0], 60);
  EXPECT_TRUE(takes_vectors<2>(loop, 4, {4, 4}, {nullptr, nullptr}));
}

TEST(DeviceLoop, LongLoopsAreCutIntoPartsThatCoverThem) {
  const auto loop = loop_of<2>({3, int64_t{1} << 31}, {{{int64_t{1} << 31, 1}, {0, 1}}});
  int64_t total = 0, next = 0;
  for_each_part(loop, {0, 0}, [&](const Loop<2>& part, std::array<int64_t, 2> at) {
    EXPECT_LT(elements(part), int64_t{1} << 31);
    EXPECT_GE(at[0], next);
    next = at[0];
    total += elements(part);
  });
  EXPECT_EQ(total, elements(loop));
}

}  // namespace
}  // namespace plinth::kernels::cuda
