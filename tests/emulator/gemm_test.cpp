// The vocabulary together: a product for sm_80 and one for sm_90a, against float64; and the same
// without any one of their waits, fences and barriers, which must not pass.

#include "tests/emulator/vocabulary/gemm_mma.h"
#include "tests/emulator/vocabulary/gemm_wgmma.h"
#include "tests/emulator/vocabulary_testing.h"

namespace plinth::device {
namespace {

struct Size {
  int64_t m, n, k;
};

std::vector<double> product(const Size& size, const std::vector<double>& a,
                            const std::vector<double>& b) {
  std::vector<double> c(size.m * size.n);
  for (int64_t i = 0; i < size.m; ++i) {
    for (int64_t j = 0; j < size.n; ++j) {
      for (int64_t k = 0; k < size.k; ++k)
        c[i * size.n + j] += a[i * size.k + k] * b[j * size.k + k];
    }
  }
  return c;
}

uint32_t tiles(int64_t size, int64_t tile) {
  return static_cast<uint32_t>((size + tile - 1) / tile);
}

// "ran", an error's message, or "wrong": further from `expected` than `tolerance`.
template <class Output>
std::string judge(const std::string& result, Output& c, const std::vector<double>& expected,
                  double tolerance) {
  if (result != "ran") return result;
  const std::vector<double> actual = c.values();
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!(std::fabs(actual[i] - expected[i]) <= tolerance * (1 + std::fabs(expected[i]))))
      return "wrong";
  }
  return "ran";
}

template <class T, GemmMistake mistake = GemmMistake::None>
std::string run_mma(const Size& size) {
  Buffer<T> a(size.m * size.k), b(size.n * size.k);
  Buffer<float> c(size.m * size.n);
  a.fill_random(1);
  b.fill_random(2);
  const std::string result = outcome([&] {
    launch("gemm", gemm_mma<T, mistake>,
           {{tiles(size.n, kGemmTile), tiles(size.m, kGemmTile)}, {128}, kGemmSharedBytes}, nullptr,
           size.m, size.n, size.k, static_cast<const T*>(a.data()), static_cast<const T*>(b.data()),
           c.data());
  });
  return judge(result, c, product(size, a.values(), b.values()), 1e-4);
}

TEST(GemmMma, MatchesFloat64) {
  for (const Size& size : {Size{64, 64, 32}, Size{1, 1, 8}, Size{70, 67, 200}, Size{33, 130, 96}}) {
    EXPECT_EQ(run_mma<BFloat16>(size), "ran") << size.m << " x " << size.n << " x " << size.k;
    EXPECT_EQ(run_mma<Float16>(size), "ran") << size.m << " x " << size.n << " x " << size.k;
  }
}

template <GemmMistake mistake>
void expect_mma_fails() {
  EXPECT_NE((run_mma<BFloat16, mistake>({70, 67, 200})), "ran") << static_cast<int>(mistake);
}

TEST(GemmMma, FailsWithoutAnyOfItsWaitsAndBarriers) {
  for_seeds(
      [] {
        EXPECT_EQ((run_mma<BFloat16>({70, 67, 200})), "ran");
        expect_mma_fails<GemmMistake::NoCopyWait>();
        expect_mma_fails<GemmMistake::WaitsForTooFew>();
        expect_mma_fails<GemmMistake::NoBarrier>();
        expect_mma_fails<GemmMistake::NoCommit>();
        expect_mma_fails<GemmMistake::LoadsTooEarly>();
      },
      3);
}

template <class T, int kColumns, int kStages, HopperGemmMistake mistake = HopperGemmMistake::None>
std::string run_wgmma(const Size& size) {
  using G = HopperGemm<kColumns, kStages>;
  Buffer<T> a(size.m * size.k), b(size.n * size.k), c(size.m * size.n);
  a.fill_random(1);
  b.fill_random(2);
  const auto map = [](const T* data, int64_t rows, int64_t columns, int64_t box_rows) {
    return make_tensor_map(data, {columns, rows}, {columns}, {64, box_rows}, G::kSwizzle);
  };
  const std::string result = outcome([&] {
    launch("gemm", gemm_wgmma<T, kColumns, kStages, mistake>,
           {{tiles(size.n, kColumns), tiles(size.m, G::kRows)}, {G::kThreads}, G::kSharedBytes},
           nullptr, map(a.data(), size.m, size.k, G::kRows),
           map(b.data(), size.n, size.k, kColumns), map(c.data(), size.m, size.n, 64),
           static_cast<int>(tiles(size.k, G::kDepth)));
  });
  return judge(result, c, product(size, a.values(), b.values()), rounding<T>());
}

TEST(GemmWgmma, MatchesFloat64) {
  EXPECT_EQ((run_wgmma<BFloat16, 128, 3>({128, 128, 64})), "ran");
  EXPECT_EQ((run_wgmma<BFloat16, 128, 3>({150, 136, 328})), "ran");
  EXPECT_EQ((run_wgmma<BFloat16, 64, 2>({1, 8, 8})), "ran");
  EXPECT_EQ((run_wgmma<Float16, 256, 2>({200, 264, 136})), "ran");
}

template <HopperGemmMistake mistake>
std::string run_wgmma_mistake() {
  const std::string result = run_wgmma<BFloat16, 64, 2, mistake>({100, 72, 312});
  EXPECT_NE(result, "ran") << static_cast<int>(mistake);
  return result;
}

TEST(GemmWgmma, FailsWithoutAnyOfItsWaitsFencesAndBarriers) {
  for_seeds(
      [] {
        EXPECT_EQ((run_wgmma<BFloat16, 64, 2>({100, 72, 312})), "ran");
        run_wgmma_mistake<HopperGemmMistake::NoInitFence>();
        run_wgmma_mistake<HopperGemmMistake::NoBarrierAfterInit>();
        run_wgmma_mistake<HopperGemmMistake::NoEmptyWait>();
        run_wgmma_mistake<HopperGemmMistake::WrongEmptyParity>();
        run_wgmma_mistake<HopperGemmMistake::NoExpect>();
        run_wgmma_mistake<HopperGemmMistake::NoFullWait>();
        run_wgmma_mistake<HopperGemmMistake::WrongFullParity>();
        run_wgmma_mistake<HopperGemmMistake::NoProductFence>();
        run_wgmma_mistake<HopperGemmMistake::NoProductCommit>();
        run_wgmma_mistake<HopperGemmMistake::NoProductWait>();
        run_wgmma_mistake<HopperGemmMistake::ReleasesTooEarly>();
        run_wgmma_mistake<HopperGemmMistake::NoRelease>();
        EXPECT_THAT(run_wgmma_mistake<HopperGemmMistake::NoAsyncFence>(),
                    HasSubstr("no async proxy fence since"));
        run_wgmma_mistake<HopperGemmMistake::NoBarrierBeforeStore>();
        run_wgmma_mistake<HopperGemmMistake::NoStoreCommit>();
        run_wgmma_mistake<HopperGemmMistake::NoStoreWait>();
      },
      3);
}

}  // namespace
}  // namespace plinth::device
