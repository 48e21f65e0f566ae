// wgmma: operand layouts against float64, and what must be fenced and waited for.

#include "tests/emulator/vocabulary/wgmma.h"

#include "tests/emulator/vocabulary_testing.h"

namespace plinth::device {
namespace {

// A matrix of `rows` (of M or N) x 64 by its major index, in boxes of the operand's layout.
template <class T>
TensorMap operand_map(const T* data, Major major, Swizzle swizzle, int rows) {
  const int64_t width = swizzle == Swizzle::None ? 8 : swizzle_span(swizzle) / 2;
  const int64_t inner = major == Major::K ? 64 : rows, outer = major == Major::K ? rows : 64;
  return make_tensor_map(data, {inner, outer}, {inner}, {width, outer}, swizzle);
}

double element(const std::vector<double>& values, Major major, int rows, int row, int k,
               int depth) {
  return major == Major::K ? values[row * depth + k] : values[k * rows + row];
}

// "ran", an error's message, or "wrong".
template <class T, int n, Major a_major, Major b_major, Swizzle swizzle, bool negate = false,
          WgmmaMistake mistake = WgmmaMistake::None>
std::string run_tile() {
  Buffer<T> a(64 * 64), b(n * 64);
  Buffer<float> d(64 * n);
  a.fill_random(1);
  b.fill_random(2);
  const std::string result = outcome([&] {
    launch("wgmma", wgmma_tile<T, n, a_major, b_major, swizzle, negate, mistake>,
           {{1}, {128}, (64 + n) * 128 + 8}, nullptr,
           operand_map<T>(a.data(), a_major, swizzle, 64),
           operand_map<T>(b.data(), b_major, swizzle, n), d.data());
  });
  if (result != "ran") return result;
  const std::vector<double> x = a.values(), y = b.values();
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int k = 0; k < 64; ++k)
        sum += element(x, a_major, 64, i, k, 64) * element(y, b_major, n, j, k, 64);
      if (!(std::fabs(d.data()[i * n + j] - (negate ? -sum : sum)) < 1e-4)) return "wrong";
    }
  }
  return "ran";
}

template <class T, Major a_major, Major b_major>
void expect_all_swizzles() {
  EXPECT_EQ((run_tile<T, 64, a_major, b_major, Swizzle::None>()), "ran");
  EXPECT_EQ((run_tile<T, 64, a_major, b_major, Swizzle::Bytes32>()), "ran");
  EXPECT_EQ((run_tile<T, 64, a_major, b_major, Swizzle::Bytes64>()), "ran");
  EXPECT_EQ((run_tile<T, 64, a_major, b_major, Swizzle::Bytes128, true>()), "ran");
}

TEST(Wgmma, EveryLayoutMatchesFloat64) {
  expect_all_swizzles<BFloat16, Major::K, Major::K>();
  expect_all_swizzles<BFloat16, Major::K, Major::MN>();
  expect_all_swizzles<BFloat16, Major::MN, Major::K>();
  expect_all_swizzles<BFloat16, Major::MN, Major::MN>();
  expect_all_swizzles<Float16, Major::K, Major::MN>();
}

template <int n>
void expect_width() {
  EXPECT_EQ((run_tile<BFloat16, n, Major::K, Major::K, Swizzle::Bytes128>()), "ran") << n;
}

TEST(Wgmma, EveryWidthMatchesFloat64) {
  expect_width<8>();
  expect_width<24>();
  expect_width<80>();
  expect_width<96>();
  expect_width<128>();
  expect_width<176>();
  expect_width<192>();
  expect_width<256>();
  // Boxes of 64 columns: a width of a multiple of 64.
  EXPECT_EQ((run_tile<BFloat16, 128, Major::K, Major::MN, Swizzle::Bytes128>()), "ran");
  EXPECT_EQ((run_tile<BFloat16, 80, Major::K, Major::MN, Swizzle::Bytes32>()), "ran");
}

template <WgmmaMistake mistake>
std::string run_mistake() {
  return run_tile<BFloat16, 64, Major::K, Major::K, Swizzle::Bytes128, false, mistake>();
}

TEST(Wgmma, MistakesFailForEverySeed) {
  for_seeds([] {
    EXPECT_EQ(run_mistake<WgmmaMistake::None>(), "ran");
    EXPECT_THAT(run_mistake<WgmmaMistake::NoCopyWait>(),
                AnyOf(HasSubstr("has not been waited for"), HasSubstr("no barrier in between")));
    EXPECT_THAT(run_mistake<WgmmaMistake::NoFence>(),
                HasSubstr("accessed after the last wgmma_fence()"));
    EXPECT_THAT(run_mistake<WgmmaMistake::TouchesAfterFence>(),
                HasSubstr("accessed after the last wgmma_fence()"));
    EXPECT_THAT(run_mistake<WgmmaMistake::NoCommit>(), HasSubstr("no wgmma_wait() naming them"));
    EXPECT_THAT(run_mistake<WgmmaMistake::NoWait>(), HasSubstr("no wgmma_wait() naming them"));
    EXPECT_THAT(run_mistake<WgmmaMistake::WaitsForTooFew>(),
                HasSubstr("no wgmma_wait() naming them"));
    EXPECT_THAT(run_mistake<WgmmaMistake::WaitNamesNone>(),
                HasSubstr("no wgmma_wait() naming them"));
    EXPECT_THAT(run_mistake<WgmmaMistake::OverwritesBeforeWait>(),
                HasSubstr("which wgmma of warpgroup 0 read with no barrier in between"));
    EXPECT_THAT(run_mistake<WgmmaMistake::WarpMissing>(),
                HasSubstr("96 threads (first 0) wait for the lanes of a warpgroup operation"));
  });
}

TEST(Wgmma, WrongDescriptorsGiveWrongNumbersOrFail) {
  EXPECT_EQ(run_mistake<WgmmaMistake::OtherSwizzle>(), "wrong");
  EXPECT_EQ(run_mistake<WgmmaMistake::OtherStride>(), "wrong");
  EXPECT_EQ(run_mistake<WgmmaMistake::OtherStart>(), "wrong");
  EXPECT_THAT(run_mistake<WgmmaMistake::StartInsidePattern>(),
              HasSubstr("not within the first 128 bytes of its swizzle's pattern"));
}

template <class T, int n, RegisterMistake mistake = RegisterMistake::None>
std::string run_registers() {
  Buffer<T> a(64 * 16), b(n * 16);
  Buffer<float> d(64 * n);
  a.fill_random(1);
  b.fill_random(2);
  const std::string result = outcome([&] {
    launch("wgmma", wgmma_of_registers<T, n, mistake>, {{1}, {128}, n * 32}, nullptr,
           static_cast<const T*>(a.data()), static_cast<const T*>(b.data()), d.data());
  });
  if (result != "ran") return result;
  const std::vector<double> x = a.values(), y = b.values();
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int k = 0; k < 16; ++k) sum -= x[i * 16 + k] * y[j * 16 + k];
      EXPECT_NEAR(d.data()[i * n + j], sum, 1e-4);
    }
  }
  return result;
}

TEST(WgmmaFromRegisters, MatchesFloat64) {
  for_seeds([] {
    EXPECT_EQ((run_registers<BFloat16, 64>()), "ran");
    EXPECT_EQ((run_registers<Float16, 40>()), "ran");
  });
}

TEST(WgmmaFromRegisters, MistakesFailForEverySeed) {
  for_seeds([] {
    EXPECT_THAT((run_registers<BFloat16, 64, RegisterMistake::NoFence>()),
                HasSubstr("accessed after the last wgmma_fence()"));
    EXPECT_THAT((run_registers<BFloat16, 64, RegisterMistake::NamesOnlyAccumulators>()),
                HasSubstr("accessed after the last wgmma_fence()"));
    EXPECT_THAT((run_registers<BFloat16, 64, RegisterMistake::ChangesTooEarly>()),
                HasSubstr("no wgmma_wait() naming them"));
    EXPECT_THAT((run_registers<BFloat16, 64, RegisterMistake::FenceAfterBarrier>()),
                HasSubstr("with ordinary stores and no async proxy fence since"));
    EXPECT_THAT((run_registers<BFloat16, 64, RegisterMistake::NoAsyncFence>()),
                HasSubstr("with ordinary stores and no async proxy fence since"));
  });
}

template <class T, int n, bool names_fragments = true>
std::string run_two_products() {
  Buffer<T> a(64 * 64), b(64 * 64), v(64 * n);
  Buffer<float> d(64 * n);
  a.fill_random(1);
  b.fill_random(2);
  v.fill_random(3);
  const std::string result = outcome([&] {
    launch("two", two_products<T, n, names_fragments>, {{1}, {128}, 16384 + n * 128 + 8}, nullptr,
           operand_map<T>(a.data(), Major::K, Swizzle::Bytes128, 64),
           operand_map<T>(b.data(), Major::K, Swizzle::Bytes128, 64),
           operand_map<T>(v.data(), Major::MN, Swizzle::Bytes128, n), d.data());
  });
  if (result != "ran") return result;
  const std::vector<double> x = a.values(), y = b.values(), z = v.values();
  std::vector<double> expected(64 * n);
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < 64; ++j) {
      double score = 0;
      for (int k = 0; k < 64; ++k) score += x[i * 64 + k] * y[j * 64 + k];
      const double rounded = static_cast<float>(T(static_cast<float>(score)));
      for (int c = 0; c < n; ++c) expected[i * n + c] += rounded * z[j * n + c];
    }
  }
  expect_close<T>(d.values(), expected, 0.1);
  return result;
}

TEST(WgmmaFromRegisters, TakesTheSumsOfAnotherProduct) {
  for_seeds([] {
    EXPECT_EQ((run_two_products<BFloat16, 64>()), "ran");
    EXPECT_EQ((run_two_products<Float16, 128>()), "ran");
    EXPECT_THAT((run_two_products<BFloat16, 64, false>()),
                HasSubstr("accessed after the last wgmma_fence()"));
  });
}

template <SetRegistersMistake mistake>
std::string run_share_registers() {
  Buffer<uint32_t> out(384);
  return outcome([&] {
    launch("registers", share_registers<mistake>, {{1}, {384}, 0}, nullptr, out.data());
  });
}

TEST(SetRegisters, MovesThemBetweenWarpgroups) {
  for_seeds([] {
    EXPECT_EQ(run_share_registers<SetRegistersMistake::None>(), "ran");
    EXPECT_THAT(run_share_registers<SetRegistersMistake::DecreasesOneWarp>(),
                HasSubstr("wait for the lanes of a warpgroup operation"));
    EXPECT_THAT(run_share_registers<SetRegistersMistake::IncreasesFirst>(),
                HasSubstr("increase of registers from 168 to 24"));
    EXPECT_THAT(run_share_registers<SetRegistersMistake::TakesTooMany>(),
                HasSubstr("wait for 248 registers a thread"));
  });
}

}  // namespace
}  // namespace plinth::device
