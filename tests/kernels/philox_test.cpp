#include "kernels/philox.h"

#include <gtest/gtest.h>

#include <set>

#include "kernels/philox_simd.h"

namespace plinth::kernels {
namespace {

// Known answers of Random123's kat_vectors for philox4x32 with 10 rounds.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Philox4{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Philox4{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(
      philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
      (Philox4{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Philox, EveryPartOfTheKeyMatters) {
  const PhiloxKey keys[] = {{},
                            {1},
                            {1ull << 40},
                            {0, 1},
                            {0, 1ull << 40},
                            {0, 0, 1},
                            {0, 0, 0, 1},
                            {0, 0, 0, int64_t{1} << 40}};
  std::set<Philox4> seen;
  for (const PhiloxKey& key : keys) {
    for (const int64_t block : {int64_t{0}, int64_t{1}, int64_t{1} << 33}) {
      EXPECT_TRUE(seen.insert(philox(key, 0, block)).second);
    }
  }
}

TEST(Philox, SampleCountsFromTheBatchsFirst) {
  EXPECT_EQ(philox(PhiloxKey{3, 5, 7, 10}, 4, 9), philox(PhiloxKey{3, 5, 7, 14}, 0, 9));
}

TEST(Philox, LanesGiveTheSameNumbers) {
  const Philox2 stream = philox_stream({9, 8, 7});
  constexpr int64_t kBlocks = 2 * cpu::kPhiloxLanes;
  for (const int64_t first : {int64_t{0}, int64_t{5}, (int64_t{1} << 32) - 3, int64_t{1} << 40}) {
    for (const int64_t sample : {int64_t{0}, (int64_t{1} << 35) + 1}) {
      uint32_t words[4 * kBlocks];
      cpu::philox_fill(stream, sample, first, kBlocks, words);
      for (int i = 0; i < 4 * kBlocks; ++i)
        EXPECT_EQ(words[i], philox(stream, sample, first + i / 4)[i % 4]) << first << " " << i;
    }
  }
}

TEST(Philox, ThresholdSplitsWordsAsUniformDoes) {
  for (const float p : {0.0f, 0x1p-30f, 0x1p-24f, 0.1f, 0.5f, 1 - 0x1p-24f}) {
    const uint32_t threshold = uniform_threshold(p);
    for (const uint32_t word : {0u, 1u, 255u, 256u, threshold - 1, threshold, ~0u})
      EXPECT_EQ(word < threshold, uniform(word) < p) << p << " " << word;
  }
}

TEST(Philox, UniformCoversTheHalfOpenUnitInterval) {
  EXPECT_EQ(uniform(0), 0.0f);
  EXPECT_EQ(uniform(0xffu), 0.0f);
  EXPECT_EQ(uniform(0x80000000u), 0.5f);
  EXPECT_EQ(uniform(~0u), 1.0f - 0x1p-24f);
  double sum = 0;
  for (int64_t block = 0; block < 10000; ++block) {
    for (const uint32_t word : philox(PhiloxKey{42}, 0, block)) sum += uniform(word);
  }
  EXPECT_NEAR(sum / 40000, 0.5, 0.005);
}

}  // namespace
}  // namespace plinth::kernels
