// mbarrier: phases, parities, expected bytes.

#include "tests/emulator/vocabulary/mbarrier.h"

#include "tests/emulator/vocabulary_testing.h"

namespace plinth::device {
namespace {

template <MbarrierMistake mistake>
std::string run_turns() {
  constexpr int kTurns = 5;
  Buffer<float> sums(kTurns);
  const std::string result = outcome([&] {
    launch("turns", take_turns<mistake>, {{1}, {64}, 160}, nullptr, sums.data(), kTurns);
  });
  if (result == "ran") {
    for (int turn = 0; turn < kTurns; ++turn) EXPECT_EQ(sums.data()[turn], 32 * turn + 496);
  }
  return result;
}

TEST(MbarrierPhases, OrderProducerAndConsumer) {
  for_seeds([] { EXPECT_EQ(run_turns<MbarrierMistake::None>(), "ran"); });
}

TEST(MbarrierPhases, MistakesFailForEverySeed) {
  for_seeds([] {
    EXPECT_THAT(run_turns<MbarrierMistake::NoInit>(),
                HasSubstr("no mbarrier was made at offset 0"));
    EXPECT_THAT(run_turns<MbarrierMistake::NoBarrierAfterInit>(),
                AnyOf(HasSubstr("no mbarrier was made"), HasSubstr("with no barrier in between")));
    EXPECT_THAT(run_turns<MbarrierMistake::NoWait>(),
                AnyOf(HasSubstr("nobody has written"), HasSubstr("no barrier in between")));
    EXPECT_THAT(run_turns<MbarrierMistake::WrongParity>(),
                HasSubstr("wait for phase 0 of the mbarrier at offset 8"));
    EXPECT_THAT(run_turns<MbarrierMistake::TooFewArrive>(), HasSubstr("deadlock"));
    EXPECT_THAT(run_turns<MbarrierMistake::Misaligned>(),
                HasSubstr("misaligned use as an mbarrier of 8 bytes at offset 148"));
    EXPECT_THAT(run_turns<MbarrierMistake::OrdinaryStore>(),
                HasSubstr("write of 4 bytes at offset 0 of shared memory, where an mbarrier is"));
  });
}

TEST(MbarrierPhases, EndWhenThoseWhoWaitHaveSeenTheOneBefore) {
  for_seeds([] {
    const LaunchShape shape{{1}, {2}, 24};
    EXPECT_EQ(outcome([&] { launch("phases", end_phases<true>, shape, nullptr, 5); }), "ran");
    EXPECT_THAT(outcome([&] { launch("phases", end_phases<false>, shape, nullptr, 5); }),
                HasSubstr("race: a phase of an mbarrier may end before thread 0 sees that the "
                          "phase before it"));
  });
}

TEST(MbarrierPhases, TakeNoMoreArrivalsThanTheirCount) {
  EXPECT_THAT(outcome([] {
                launch("often", arrive_too_often, {{1}, {1}, 8}, nullptr);
              }),
              HasSubstr("1 arrive at an mbarrier of 2 where 0 are still to come"));
}

TEST(MbarrierBytes, HoldThePhaseUntilAllHaveCome) {
  Buffer<float> out(1);
  launch("bytes", count_bytes, {{1}, {1}, 8}, nullptr, out.data());
  EXPECT_EQ(out.data()[0], 2.0f);
}

TEST(MbarrierBytes, MoreThanExpectedFail) {
  EXPECT_THAT(outcome([] {
                launch("bytes", more_bytes_than_expected, {{1}, {1}, 8}, nullptr);
              }),
              HasSubstr("more bytes came to an mbarrier than were expected"));
}

}  // namespace
}  // namespace plinth::device
