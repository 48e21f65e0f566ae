// ldmatrix, stmatrix and mma.sync: layouts, values, and what all 32 lanes owe.

#include "tests/emulator/vocabulary/mma.h"

#include "tests/emulator/vocabulary_testing.h"

namespace plinth::device {
namespace {

template <int n, bool transposed, MatrixMistake mistake = MatrixMistake::None>
std::string run_load_matrices() {
  Buffer<uint16_t> x(256);
  Buffer<uint32_t> out(32 * n);
  for (int i = 0; i < 256; ++i) x.data()[i] = static_cast<uint16_t>(i);
  const std::string result = outcome([&] {
    launch("load_matrix", load_matrices<n, transposed, mistake>, {{1}, {32}, 528}, nullptr,
           static_cast<const uint16_t*>(x.data()), out.data());
  });
  if (result != "ran") return result;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t m = 0; m < n; ++m) {
      const uint32_t row = lane / 4, column = lane % 4 * 2;
      const uint32_t low = transposed ? column * 8 + row : row * 8 + column;
      const uint32_t high = transposed ? low + 8 : low + 1;
      EXPECT_EQ(out.data()[lane * n + m], (64 * m + low) | (64 * m + high) << 16);
    }
  }
  return result;
}

TEST(LoadMatrix, GivesEachLaneItsPairs) {
  for_seeds([] {
    EXPECT_EQ((run_load_matrices<1, false>()), "ran");
    EXPECT_EQ((run_load_matrices<2, false>()), "ran");
    EXPECT_EQ((run_load_matrices<4, false>()), "ran");
    EXPECT_EQ((run_load_matrices<1, true>()), "ran");
    EXPECT_EQ((run_load_matrices<2, true>()), "ran");
    EXPECT_EQ((run_load_matrices<4, true>()), "ran");
  });
}

TEST(LoadMatrix, WithoutBarrierOrAlignmentOrLanesFails) {
  for_seeds([] {
    EXPECT_THAT((run_load_matrices<4, false, MatrixMistake::NoBarrier>()),
                AnyOf(HasSubstr("no barrier in between"), HasSubstr("nobody has written")));
    EXPECT_THAT((run_load_matrices<4, false, MatrixMistake::Misaligned>()),
                HasSubstr("misaligned read of 16 bytes"));
    EXPECT_THAT((run_load_matrices<4, false, MatrixMistake::MissingLanes>()),
                HasSubstr("16 threads (first 0) wait for the lanes of a warp operation"));
  });
}

template <int n, bool transposed>
void expect_stored_matrices() {
  Buffer<uint16_t> out(n * 64);
  launch("store_matrix", store_matrices<n, transposed>, {{1}, {32}, n * 128}, nullptr, out.data());
  for (int m = 0; m < n; ++m) {
    for (int i = 0; i < 64; ++i) {
      const int stored = transposed ? i % 8 * 8 + i / 8 : i;
      EXPECT_EQ(out.data()[64 * m + stored], 64 * m + i);
    }
  }
}

TEST(StoreMatrix, PutsEachLanesPairs) {
  for_seeds([] {
    expect_stored_matrices<1, false>();
    expect_stored_matrices<2, false>();
    expect_stored_matrices<4, false>();
    expect_stored_matrices<1, true>();
    expect_stored_matrices<2, true>();
    expect_stored_matrices<4, true>();
  });
}

template <class T, bool b_by_rows>
void expect_product() {
  Buffer<T> a(256), b(128);
  Buffer<float> c(128);
  a.fill_random(1);
  b.fill_random(2);
  launch("product", multiply_tile<T, b_by_rows>, {{1}, {32}, 768}, nullptr,
         static_cast<const T*>(a.data()), static_cast<const T*>(b.data()), c.data());
  const std::vector<double> x = a.values(), y = b.values();
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      double sum = 0;
      for (int k = 0; k < 16; ++k) sum += x[i * 16 + k] * y[b_by_rows ? k * 8 + j : j * 16 + k];
      EXPECT_NEAR(c.data()[i * 8 + j], sum, 1e-5) << i << ", " << j;
    }
  }
}

TEST(Mma, MatchesFloat64) {
  for_seeds([] {
    expect_product<BFloat16, false>();
    expect_product<BFloat16, true>();
    expect_product<Float16, false>();
    expect_product<Float16, true>();
  });
}

TEST(Mma, RoundsToTf32TowardsZero) {
  Buffer<uint32_t> a(128), b(64);
  Buffer<float> c(128);
  const auto truncated = [](uint32_t bits) {
    return static_cast<double>(std::bit_cast<float>(bits & 0xffffe000u));
  };
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 128; ++i) a.data()[i] = std::bit_cast<uint32_t>(normal(random));
  for (int i = 0; i < 64; ++i) b.data()[i] = std::bit_cast<uint32_t>(normal(random));
  launch("tf32", multiply_tile_tf32, {{1}, {32}, 0}, nullptr,
         static_cast<const uint32_t*>(a.data()), static_cast<const uint32_t*>(b.data()), c.data());
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      double sum = 0;
      for (int k = 0; k < 8; ++k)
        sum += truncated(a.data()[i * 8 + k]) * truncated(b.data()[k * 8 + j]);
      EXPECT_NEAR(c.data()[i * 8 + j], sum, 1e-5) << i << ", " << j;
    }
  }
}

template <class T>
void expect_packed() {
  Buffer<float> x(64);
  Buffer<uint32_t> out(32);
  x.fill_random(4);
  launch("pack", pack_pairs<T>, {{1}, {32}, 0}, nullptr, static_cast<const float*>(x.data()),
         out.data());
  for (int i = 0; i < 64; ++i) {
    const auto bits = static_cast<uint16_t>(out.data()[i / 2] >> (16 * (i % 2)));
    EXPECT_EQ(bits, T(x.data()[i]).bits);
  }
}

TEST(Pack, RoundsBothElements) {
  expect_packed<BFloat16>();
  expect_packed<Float16>();
}

}  // namespace
}  // namespace plinth::device
