// Products through the emulator's cuBLASLt: the choice of a kernel and of an algorithm.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/emulator/product_testing.h"

namespace plinth::kernels::cuda::product_testing {
namespace {

// ---- which kernel, and why ----

std::string why(const Product& product, int capability = 90) {
  Tuner tuner;
  tuner.capability_number = capability;
  const Choice choice = choose(nullptr, tuner, product);
  EXPECT_EQ(choice.plan != nullptr, choice.why == "cuBLASLt takes it");
  return std::string(choice.why);
}

TEST(Product, SaysWhyThePlainKernelIsTaken) {
  using testing::HasSubstr;
  const Case t{.m = 16, .n = 16, .k = 16};
  Operands<float, float, float> x(t);
  EXPECT_EQ(why(x.product), "cuBLASLt takes it");
  Product p = x.product;
  p.shape.k = 0;
  EXPECT_THAT(why(p), HasSubstr("a dimension is 0"));
  p = x.product;
  p.shape.a = {0, 32, 2};
  EXPECT_THAT(why(p), HasSubstr("neither stride 1"));
  p = x.product;
  p.shape.c = {0, 1, 16};
  EXPECT_THAT(why(p), HasSubstr("columns are not adjacent"));
  p = x.product;
  p.shape.m = int64_t{1} << 31;
  EXPECT_THAT(why(p), HasSubstr("int32"));
  p = x.product;
  p.shape.batch = 2;
  p.shape.c[0] = 0;
  EXPECT_THAT(why(p), HasSubstr("overlap"));

  Operands<double, double, double> wide(
      {.m = 16, .n = 16, .k = 16, .epilogue = Epilogue::BiasGradient});
  EXPECT_THAT(why(wide.product), HasSubstr("no form of this dtype"));
  Case gelu{.m = 4, .n = 5, .k = 4, .epilogue = Epilogue::GeluBias};
  Operands<BFloat16, BFloat16, BFloat16> odd(gelu);
  EXPECT_THAT(why(odd.product), HasSubstr("multiple of 8"));
  Operands<float, float, float> exact(gelu);
  EXPECT_THAT(why(exact.product), HasSubstr("float32 results"));

  Operands<Float8_e4m3, Float8_e4m3, float> narrow(
      {.m = 16, .n = 16, .k = 16, .b = Layout::Column});
  EXPECT_EQ(why(narrow.product), "cuBLASLt takes it");
  EXPECT_THAT(why(narrow.product, 80), HasSubstr("8.9"));
  Operands<Float8_e4m3, Float8_e4m3, float> rows(t);
  EXPECT_THAT(why(rows.product), HasSubstr("k adjacent"));
  Operands<Float8_e4m3, Float8_e4m3, float> shifted(
      {.m = 16, .n = 16, .k = 16, .b = Layout::Column}, 1);
  EXPECT_THAT(why(shifted.product), HasSubstr("16 bytes"));
}

TEST(Product, WithoutTheLibraryTellsOnce) {
  emulate::cublaslt().missing = true;
  testing::internal::CaptureStderr();
  for (int i = 0; i < 2; ++i) {
    Tuner tuner;
    Operands<float, float, float> x({.m = 3, .n = 4, .k = 5});
    const auto expected = x.sums();
    const Choice choice = x.make(tuner);
    EXPECT_FALSE(choice.plan);
    EXPECT_EQ(choice.why, "libcublasLt.so: not found");
    expect_close<float>(x.matrix(x.c), expected, 4);
  }
  const std::string told = testing::internal::GetCapturedStderr();
  // An earlier test of this process may have made it tell already.
  EXPECT_LE(std::count(told.begin(), told.end(), '\n'), 1);
  emulate::cublaslt().missing = false;
}

TEST(Product, AnEpilogueThatOnlyTheLibraryHasIsNoneOfThePlainKernel) {
  emulate::cublaslt().missing = true;
  Tuner tuner;
  Operands<float, float, float> x({.m = 8, .n = 8, .k = 8, .epilogue = Epilogue::GeluBias});
  EXPECT_THROW(x.make(tuner), std::logic_error);
  emulate::cublaslt().missing = false;
}

// ---- which algorithm ----

const Case kDeep{.m = 8, .n = 8, .k = 128};  // the emulator offers to split its sums

TEST(Product, TakesTheHeuristicsFirstWhereNothingMayBeTimed) {
  Tuner tuner;
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 0u);
  EXPECT_EQ(tuner.timings, 0);
  EXPECT_TRUE(tuner.memory.empty());
}

TEST(Product, KeepsTheFastestAndTimesOnce) {
  Tuner tuner;
  tuner.times = true;
  tuner.cost = {{0, 1.0}, {1, 0.5}};
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 1u);
  EXPECT_EQ(tuner.memory.size(), 1u);
  const int timings = tuner.timings;
  const uint64_t heuristics = emulate::cublaslt().heuristics;
  x.make(tuner);
  EXPECT_EQ(tuner.timings, timings);
  EXPECT_EQ(emulate::cublaslt().heuristics, heuristics);

  Tuner later;  // as in the next process
  later.memory = tuner.memory;
  x.make(later);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 1u);
  EXPECT_EQ(emulate::cublaslt().heuristics, heuristics);
}

TEST(Product, PassesOverWhatTheLibraryProposesAndThenRefuses) {
  for (const auto& [refused, taken] : {std::pair(1, 1u), {2, 0u}}) {
    emulate::cublaslt().refused = refused;
    Tuner tuner;
    tuner.times = true;
    Operands<float, float, float> x(kDeep);
    const auto expected = x.sums();
    const Choice choice = x.make(tuner);
    EXPECT_EQ(choice.plan != nullptr, refused == 1);
    if (choice.plan) {
      EXPECT_EQ(emulate::cublaslt().last_algorithm, taken);
    }
    expect_close<float>(x.matrix(x.c), expected, 4);
  }
  emulate::cublaslt().refused = 0;
}

TEST(Product, StaysWithTheFirstWhereAnotherIsHardlyFaster) {
  Tuner tuner;
  tuner.times = true;
  tuner.cost = {{0, 1.0}, {1, 0.99}};
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 0u);
}

// The emulator's algorithms 2 and 3 join parts of sums in the result.
TEST(Product, NeverTakesAnAlgorithmThatJoinsSumsInTheResult) {
  Tuner tuner;
  tuner.times = true;
  tuner.cost = {{0, 1.0}, {1, 2.0}, {2, 0.1}, {3, 0.1}};
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 0u);
  ASSERT_EQ(tuner.memory.size(), 1u);
  lt::Algorithm& kept = tuner.memory.begin()->second;
  kept.words[0] = 2;  // as a file may say that somebody wrote by hand
  Tuner later;
  later.memory = tuner.memory;
  x.make(later);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 0u);
}

TEST(Product, IgnoresAKeptAlgorithmOfAnotherProblem) {
  Tuner tuner;
  tuner.times = true;
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  Tuner later;
  for (const auto& [name, algorithm] : tuner.memory) later.memory[name].words.fill(7);
  const auto expected = x.sums();
  EXPECT_TRUE(x.make(later).plan);
  expect_close<float>(x.matrix(x.c), expected, 4);
}

TEST(Product, TimingLeavesAccumulatedResultsAlone) {
  Tuner tuner;
  tuner.times = true;
  Case t = kDeep;
  t.accumulate = true;
  Operands<float, float, float> x(t);
  const auto expected = x.sums();
  x.make(tuner);
  EXPECT_GT(tuner.timings, 0);
  expect_close<float>(x.matrix(x.c), expected, 4);
}

TEST(Product, SplitSumsMatchToo) {
  Tuner tuner;
  tuner.times = true;
  tuner.cost = {{0, 1.0}, {1, 0.5}};
  Operands<BFloat16, BFloat16, float> x(kDeep);
  const auto expected = x.sums();
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 1u);
  expect_close<float>(x.matrix(x.c), expected, 4);
}

}  // namespace
}  // namespace plinth::kernels::cuda::product_testing
