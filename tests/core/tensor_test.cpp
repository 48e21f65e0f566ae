// Tensors themselves: geometry, storage, dtypes, printing. What ops compute is tested in tests/ops.

#include "core/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "core/allocator.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// 0, 1, 2, ... in float32.
Tensor counted(const Shape& shape) {
  return arange(0, static_cast<double>(shape.numel()), 1, {DType::Float32, {}}).reshape(shape);
}

// ---- geometry ----

TEST(Shape, HoldsUpToEightDimensions) {
  const Shape most = Shape::filled(8, 1);
  EXPECT_EQ(most.dim(), 8);
  EXPECT_THAT(message_of([&] { Shape(most).push_back(1); }), HasSubstr("more than 8 dimensions"));
  EXPECT_THAT(message_of([] { Shape(std::array<int64_t, 9>{}); }), HasSubstr("got 9 dimensions"));
}

TEST(Shape, InsertsAndErases) {
  Shape shape = {2, 3};
  shape.insert(1, 7);
  EXPECT_EQ(shape, Shape({2, 7, 3}));
  shape.erase(0);
  EXPECT_EQ(shape, Shape({7, 3}));
  EXPECT_EQ(shape.numel(), 21);
  EXPECT_EQ(Shape{}.numel(), 1);
}

TEST(Tensor, EmptyRefusesImpossibleShapes) {
  EXPECT_EQ(message_of([] { Tensor::empty({2, -1}); }), "empty: shape [2, -1] has a negative size");
  EXPECT_THAT(message_of([] {
                Tensor::empty({int64_t{1} << 40, int64_t{1} << 40});
              }),
              HasSubstr("more elements than memory can hold"));
  EXPECT_THAT(message_of([] { Tensor::empty({int64_t{1} << 50}); }),
              HasSubstr("bytes left on cpu"));
}

TEST(Tensor, ArangeRefusesMoreNumbersThanThereCanBe) {
  EXPECT_THAT(message_of([] { arange(0, 1e300); }),
              HasSubstr("arange: start 0, end 1e+300, step 1 are 1e+300 numbers"));
  EXPECT_THAT(message_of([] { arange(1e308, -1e308, -1); }), HasSubstr("are inf numbers"));
  EXPECT_EQ(arange(1e300, 0).numel(), 0);
}

TEST(Tensor, UndefinedIsNamed) {
  const Tensor none;
  EXPECT_FALSE(none.defined());
  EXPECT_EQ(message_of([&] { none.shape(); }), "shape: the tensor is undefined");
  EXPECT_EQ(to_string(none), "undefined");
}

TEST(Tensor, DataChecksTheElementType) {
  EXPECT_EQ(message_of([] { zeros({2}).data<double>(); }),
            "data: the tensor has dtype float32, expected float64");
}

TEST(Tensor, ItemNeedsOneElement) {
  EXPECT_EQ(full({1, 1}, 2.5).item(), 2.5);
  EXPECT_EQ(scalar(7, {DType::Int64, {}}).item_int(), 7);
  EXPECT_EQ(message_of([] { zeros({2}).item(); }), "item: shape [2] has 2 elements, expected 1");
  EXPECT_EQ(message_of([] { zeros({0}).item_int(); }),
            "item_int: shape [0] has 0 elements, expected 1");
}

TEST(Tensor, FromStorageStaysWithinIt) {
  const Tensor x = counted({6});
  const Tensor backwards = Tensor::from_storage(x.storage(), {3}, {-2}, 5, DType::Float32);
  EXPECT_THAT(to_vector(backwards), ElementsAre(5, 3, 1));
  EXPECT_THAT(message_of([&] { Tensor::from_storage(x.storage(), {4}, {-2}, 5, DType::Float32); }),
              HasSubstr("reaches beyond the 24 bytes"));
  EXPECT_THAT(message_of([&] { Tensor::from_storage(x.storage(), {2}, {1}, 0, DType::Float64); }),
              testing::StrEq("no error"));
  EXPECT_THAT(message_of([&] { Tensor::from_storage(x.storage(), {4}, {1}, 0, DType::Float64); }),
              HasSubstr("reaches beyond"));
  EXPECT_THAT(message_of([&] { Tensor::from_storage(x.storage(), {2}, {}, 0, DType::Float32); }),
              HasSubstr("differ in length"));
  // An extent that overflows 64 bits is not within anything.
  EXPECT_THAT(message_of([&] {
                Tensor::from_storage(x.storage(), {3}, {INT64_MAX / 2 + 1}, 0, DType::Float32);
              }),
              HasSubstr("reaches beyond"));
}

struct ViewCase {
  const char* name;
  Tensor (*make)(const Tensor&);  // of counted({2, 3, 4})
  Shape shape, strides;
  int64_t offset;
};

TEST(Tensor, ViewsShareStorageWithTheirStrides) {
  const ViewCase cases[] = {
      {"transpose", [](const Tensor& x) { return x.transpose(0, 2); }, {4, 3, 2}, {1, 4, 12}, 0},
      {"slice", [](const Tensor& x) { return x.slice(2, 1, 4, 2); }, {2, 3, 2}, {12, 4, 2}, 1},
      {"select", [](const Tensor& x) { return x.select(1, 2); }, {2, 4}, {12, 1}, 8},
      {"expand",
       [](const Tensor& x) {
         return x.narrow(1, 0, 1).expand({2, 5, 4});
       },
       {2, 5, 4},
       {12, 0, 1},
       0},
      {"new dimension",
       [](const Tensor& x) {
         return x.expand({3, 2, 3, 4});
       },
       {3, 2, 3, 4},
       {0, 12, 4, 1},
       0},
      {"join contiguous",
       [](const Tensor& x) {
         return x.reshape({6, 4});
       },
       {6, 4},
       {4, 1},
       0},
      {"split a strided dimension",
       [](const Tensor& x) {
         return x.select(2, 1).reshape({2, 3, 1});
       },
       {2, 3, 1},
       {12, 4, 4},
       1},
      {"join a strided run",
       [](const Tensor& x) {
         return x.slice(2, 0, 2).reshape({6, 2});
       },
       {6, 2},
       {4, 1},
       0},
      {"drop and add ones",
       [](const Tensor& x) {
         return x.transpose(0, 1).reshape({1, 3, 1, 2, 4});
       },
       {1, 3, 1, 2, 4},
       {24, 4, 24, 12, 1},
       0},
  };
  for (const ViewCase& c : cases) {
    SCOPED_TRACE(c.name);
    const Tensor x = counted({2, 3, 4});
    const Tensor view = c.make(x);
    EXPECT_EQ(view.storage(), x.storage());
    EXPECT_EQ(view.shape(), c.shape);
    for (int64_t d = 0; d < view.dim(); ++d) {
      if (view.size(d) == 1) continue;  // its stride moves nothing
      EXPECT_EQ(view.strides()[d], c.strides[d]) << "dimension " << d;
    }
    EXPECT_EQ(view.offset(), c.offset);
  }
}

TEST(Tensor, ReshapeCopiesOnlyWhereStridesDoNotAllowAView) {
  const Tensor x = counted({2, 3});
  const Tensor joined = x.transpose(0, 1).reshape({6});
  EXPECT_NE(joined.storage(), x.storage());
  EXPECT_THAT(to_vector(joined), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_TRUE(x.reshape({2, 3}).is(x));
  EXPECT_EQ(x.transpose(0, 1).reshape({3, 2, 1}).storage(), x.storage());
  // An expanded dimension cannot join another without a copy, but stays a view by itself.
  const Tensor repeated = counted({2, 1}).expand({2, 3});
  EXPECT_NE(repeated.reshape({6}).storage(), repeated.storage());
  EXPECT_EQ(counted({1}).expand({6}).reshape({2, 3}).strides(), Shape({0, 0}));
}

TEST(Tensor, ContiguousIsItselfOrACopy) {
  const Tensor x = counted({2, 3});
  EXPECT_TRUE(x.contiguous().is(x));
  EXPECT_TRUE(x.select(0, 1).is_contiguous());
  EXPECT_FALSE(x.select(1, 1).is_contiguous());
  EXPECT_TRUE(x.narrow(1, 0, 1).narrow(0, 0, 1).is_contiguous());
  EXPECT_TRUE(x.transpose(0, 1).slice(0, 3, 3).is_contiguous()) << "nothing is contiguous";
  const Tensor copy = x.transpose(0, 1).contiguous();
  EXPECT_NE(copy.storage(), x.storage());
  EXPECT_EQ(copy.strides(), Shape({2, 1}));
}

TEST(Tensor, WritesThroughAViewReachTheBase) {
  const Tensor x = zeros({2, 3});
  Tensor column = x.select(1, 1);
  column.fill_(4);
  EXPECT_THAT(to_vector(x), ElementsAre(0, 4, 0, 0, 4, 0));
}

TEST(Tensor, WritesReadOtherViewsOfTheirOwnMemoryFirst) {
  Tensor x = counted({2, 2});
  x.copy_(x.transpose(0, 1));
  EXPECT_THAT(to_vector(x), ElementsAre(0, 2, 1, 3));
  Tensor y = counted({4});
  y.slice(0, 1, 4).copy_(y.slice(0, 0, 3));
  EXPECT_THAT(to_vector(y), ElementsAre(0, 0, 1, 2));
  Tensor z = counted({2, 2}) + 1.0;
  z.mul_(z[0]);
  EXPECT_THAT(to_vector(z), ElementsAre(1, 4, 3, 8));
  z.sub_(z.select(1, 0).unsqueeze(1));
  EXPECT_THAT(to_vector(z), ElementsAre(0, 3, 0, 5));
}

TEST(Tensor, EachWriteRaisesTheVersionOfTheStorage) {
  Tensor x = zeros({3});
  const Tensor view = x.slice(0, 0, 2);
  EXPECT_EQ(x.version(), 0u);
  x.add_(ones({3}));
  x.mul_(2);
  x.fill_(1);
  x.copy_(zeros({3}));
  x.div_(ones({3}));
  EXPECT_EQ(x.version(), 5u);
  EXPECT_EQ(view.version(), 5u);
  EXPECT_EQ(x.clone().version(), 0u);
}

TEST(Tensor, RequiresGradIsForFloatingLeaves) {
  EXPECT_THAT(message_of([] {
                zeros({2}, {DType::Int64, {}}).set_requires_grad();
              }),
              HasSubstr("only floating point can have gradients"));
  const Tensor x = zeros({2}).set_requires_grad();
  EXPECT_THAT(message_of([&] { (x * 2.0).set_requires_grad(false); }),
              HasSubstr("only a leaf can be set"));
}

// ---- dtypes ----

constexpr DType kAll[] = {DType::Float64,     DType::Float32,     DType::BFloat16, DType::Float16,
                          DType::Float8_e4m3, DType::Float8_e5m2, DType::Int64,    DType::Int32,
                          DType::UInt8,       DType::Bool};

TEST(Tensor, EveryDtypeConvertsToEveryOther) {
  for (DType from : kAll) {
    for (DType to : kAll) {
      const Tensor x = from_values<double>({0, 1}, {2}).to(from).to(to);
      EXPECT_EQ(x.dtype(), to);
      EXPECT_THAT(to_vector(x), ElementsAre(0, 1)) << name(from) << " to " << name(to);
    }
  }
}

TEST(Tensor, ConversionsRoundSaturateAndKeepSpecialValues) {
  struct Conversion {
    DType dtype;
    std::vector<double> from, to;
  };
  const Conversion conversions[] = {
      // Halfway goes to even; beyond the largest goes to infinity.
      {DType::BFloat16, {1 + 0x1p-8, 1 + 3 * 0x1p-8, -kInfinity}, {1, 1 + 0x1p-6, -kInfinity}},
      {DType::Float16,
       {1 + 0x1p-11, 65504, 65520, 0x1p-24, 0x1p-26},
       {1, 65504, kInfinity, 0x1p-24, 0}},
      // float8 saturates.
      {DType::Float8_e4m3,
       {448, 1000, -1000, 0x1p-9, 1.0625, 1.1875},
       {448, 448, -448, 0x1p-9, 1, 1.25}},
      {DType::Float8_e5m2, {57344, 1e6, 0x1p-16, 1.125}, {57344, 57344, 0x1p-16, 1}},
      {DType::Int64, {2.9, -2.9, 0}, {2, -2, 0}},
      {DType::Bool, {0, 0.1, -3}, {0, 1, 1}},
  };
  for (const Conversion& c : conversions) {
    const Tensor x = from_values(c.from, {static_cast<int64_t>(c.from.size())});
    EXPECT_THAT(to_vector(x.to(c.dtype)), ElementsAreArray(c.to)) << name(c.dtype);
  }
  for (DType dtype :
       {DType::Float32, DType::BFloat16, DType::Float16, DType::Float8_e4m3, DType::Float8_e5m2}) {
    EXPECT_TRUE(std::isnan(scalar(NAN, {DType::Float64, {}}).to(dtype).item())) << name(dtype);
  }
}

TEST(Tensor, ConversionsOfFloat8SurviveThereAndBack) {
  // All 256 codes but NaN and infinity.
  for (DType dtype : {DType::Float8_e4m3, DType::Float8_e5m2}) {
    const Tensor codes = Tensor::empty({256}, {dtype, {}});
    for (int i = 0; i < 256; ++i)
      static_cast<uint8_t*>(codes.raw_data())[i] = static_cast<uint8_t>(i);
    const Tensor back = codes.to(DType::Float32).to(dtype);
    for (int i = 0; i < 256; ++i) {
      const double value = to_vector(codes)[i];
      if (!std::isfinite(value)) continue;
      EXPECT_EQ(static_cast<uint8_t*>(back.raw_data())[i], i) << name(dtype) << " " << value;
    }
  }
}

TEST(Tensor, DtypesMeetInTheHigherCategoryThenTheWider) {
  using enum DType;
  struct Meeting {
    DType a, b, result;
  };
  const Meeting meetings[] = {
      {Float32, Float64, Float64},  {BFloat16, Float16, Float32},
      {BFloat16, Float32, Float32}, {Float16, Int64, Float16},
      {Bool, BFloat16, BFloat16},   {Int32, Int64, Int64},
      {UInt8, Int32, Int32},        {Bool, UInt8, UInt8},
      {Bool, Bool, Bool},           {Float8_e4m3, Float8_e4m3, Float8_e4m3},
  };
  for (const Meeting& m : meetings) {
    EXPECT_EQ(name(promote(m.a, m.b)), name(m.result)) << name(m.a) << " and " << name(m.b);
    EXPECT_EQ(name(promote(m.b, m.a)), name(m.result)) << name(m.b) << " and " << name(m.a);
  }
  EXPECT_THAT(message_of([] { promote(Float8_e4m3, Float32); }),
              HasSubstr("float8 does not combine with another dtype"));
}

TEST(Tensor, ArithmeticOfIntegersAndNumbers) {
  const Tensor i = from_values<int64_t>({7, -7}, {2});
  EXPECT_EQ((i + 1.0).dtype(), DType::Int64);
  EXPECT_EQ((i + 0.5).dtype(), DType::Float32);
  EXPECT_THAT(to_vector(i / from_values<int64_t>({2}, {1})), ElementsAre(3, -3));
  EXPECT_THAT(to_vector(gt(i, 6.5)), ElementsAre(1, 0));
  EXPECT_EQ(sum(gt(i, 0)).dtype(), DType::Int64);
  EXPECT_EQ(sum(gt(i, 0)).item_int(), 1);
}

TEST(Tensor, Float8IsForStorageOnly) {
  const Tensor x = ones({2}, {DType::Float8_e4m3, {}});
  EXPECT_THAT(message_of([&] { x + x; }), HasSubstr("add: got dtype float8_e4m3"));
  EXPECT_THAT(to_vector(stack({x, x})), ElementsAre(1, 1, 1, 1));
}

// ---- printing ----

TEST(Tensor, PrintsNestedAndShortened) {
  EXPECT_EQ(to_string(scalar(2.5)), "2.5 float32[]");
  EXPECT_EQ(to_string(zeros({0}, {DType::Int64, {}})), "[] int64[0]");
  EXPECT_EQ(to_string(counted({2, 2})), "[[0, 1],\n [2, 3]] float32[2, 2]");
  EXPECT_EQ(to_string(arange(0, 100)), "[0, 1, 2, ..., 97, 98, 99] int64[100]");
  EXPECT_EQ(to_string(from_values<double>({kInfinity, NAN}, {2})), "[inf, nan] float64[2]");
}

// ---- memory ----

TEST(Allocator, ReusesAFreedBlockOfTheSameSize) {
  Allocator& memory = allocator({});
  memory.release_cached();
  { const Tensor warm = Tensor::empty({1000}); }
  const MemoryStats before = memory.stats();
  { const Tensor again = Tensor::empty({1001}); }
  const MemoryStats after = memory.stats();
  EXPECT_EQ(after.allocations, before.allocations + 1);
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_EQ(after.system_allocations, before.system_allocations);
  EXPECT_EQ(after.reserved, before.reserved);
#endif
}

TEST(Allocator, CountsWhatTensorsHoldAndThePeak) {
  Allocator& memory = allocator({});
  memory.reset_peak();
  const int64_t before = memory.stats().allocated;
  {
    const Tensor x = Tensor::empty({1 << 20});
    EXPECT_EQ(memory.stats().allocated, before + (4 << 20));
    const Tensor view = x.slice(0, 0, 10);
    EXPECT_EQ(memory.stats().allocated, before + (4 << 20)) << "a view holds nothing of its own";
  }
  EXPECT_EQ(memory.stats().allocated, before);
  EXPECT_EQ(memory.stats().peak_allocated, before + (4 << 20));
  memory.reset_peak();
  EXPECT_EQ(memory.stats().peak_allocated, before);
  memory.release_cached();
  EXPECT_EQ(memory.stats().reserved, memory.stats().allocated);
}

TEST(Allocator, BlocksAreAligned) {
  for (int64_t size : {0, 1, 100, 100000}) {
    const Tensor x = Tensor::empty({size});
    EXPECT_EQ(reinterpret_cast<uintptr_t>(x.raw_data()) % 64, 0u);
  }
}

TEST(Storage, BorrowedMemoryIsReleasedByTheLastTensor) {
  std::array<float, 4> memory = {1, 2, 3, 4};
  int released = 0;
  Tensor part;
  {
    const auto storage =
        std::make_shared<Storage>(memory.data(), sizeof(memory), Device{}, [&] { ++released; });
    const Tensor whole = Tensor::from_storage(storage, {4}, {1}, 0, DType::Float32);
    part = whole.slice(0, 2, 4);
  }
  EXPECT_EQ(released, 0);
  part.mul_(10);
  EXPECT_THAT(memory, ElementsAre(1, 2, 30, 40));
  part = Tensor();
  EXPECT_EQ(released, 1);
}

TEST(Device, ParsesItsNames) {
  EXPECT_EQ(Device::parse("cpu"), Device{});
  EXPECT_EQ(to_string(Device::parse("cuda")), "cuda:0");
  EXPECT_EQ(Device::parse("cuda:3").index, 3);
  for (const char* bad : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cpu:0"})
    EXPECT_THAT(message_of([&] { Device::parse(bad); }), HasSubstr("expected cpu, cuda or cuda:N"));
}

TEST(Tensor, WritesInPlaceCopyOnlyWhatTheyWouldChange) {
  const Tensor x = from_values(std::vector<double>{1, 2, 3, 4, 5, 6}, {6});
  const auto allocations = [] { return allocator(Device{}).stats().allocations; };
  const int64_t before = allocations();
  x.narrow(0, 0, 3).add_(x.narrow(0, 3, 3));
  x.narrow(0, 3, 3).copy_(x.narrow(0, 0, 3));
  EXPECT_EQ(allocations(), before);
  EXPECT_THAT(to_vector(x), ElementsAre(5, 7, 9, 5, 7, 9));
  x.narrow(0, 1, 5).add_(x.narrow(0, 0, 5));
  EXPECT_THAT(to_vector(x), ElementsAre(5, 12, 16, 14, 12, 16));
  x.narrow(0, 0, 4).copy_(x.narrow(0, 2, 4));
  EXPECT_THAT(to_vector(x), ElementsAre(16, 14, 12, 16, 12, 16));
  // Between each other's elements.
  x.slice(0, 0, 6, 2).add_(x.slice(0, 1, 6, 2));
  EXPECT_THAT(to_vector(x), ElementsAre(30, 14, 28, 16, 28, 16));
}

}  // namespace
}  // namespace plinth
