// Votes and shuffles.

#include "tests/emulator/vocabulary/warp.h"

#include "tests/emulator/vocabulary_testing.h"

namespace plinth::device {
namespace {

TEST(Warp, VotesAndShuffles) {
  for_seeds([] {
    Buffer<uint32_t> out(7 * 32);
    launch("warp", use_warp_operations, {{1}, {32}, 0}, nullptr, out.data());
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const auto result = [&](uint32_t row) { return out.data()[row * 32 + lane]; };
      EXPECT_EQ(result(0), 0xaaaaaaaau);
      EXPECT_EQ(result(1), 8u + 2u);
      EXPECT_EQ(result(2), lane < 3 ? lane : lane - 3);
      EXPECT_EQ(result(3), lane < 29 ? lane + 3 : lane);
      EXPECT_EQ(result(4), lane ^ 16);
      EXPECT_EQ(result(5), 0u);
      EXPECT_EQ(result(6), 0x11111111u << lane % 4);
    }
  });
}

TEST(Warp, DisjointMasksMeetInTheirOwnBranches) {
  for_seeds([] {
    Buffer<uint32_t> out(32);
    launch("halves", votes_of_halves, {{1}, {32}, 0}, nullptr, out.data());
    EXPECT_EQ(out.data()[3], 0x00005555u);
    EXPECT_EQ(out.data()[30], 0x11110000u);
  });
}

TEST(Warp, ShuffleFromALaneOutsideTheMaskFails) {
  Buffer<uint32_t> out(32);
  EXPECT_THAT(
      outcome([&] {
        launch("outside", shuffle_from_outside_the_mask, {{1}, {32}, 0}, nullptr, out.data());
      }),
      HasSubstr("shuffle from lane 20, which the mask leaves out"));
}

}  // namespace
}  // namespace plinth::device
