// Integer atomics, memory fences, and order between blocks.

#include "tests/emulator/vocabulary/atomics.h"

#include "tests/emulator/vocabulary_testing.h"

namespace plinth::device {
namespace {

constexpr uint32_t kBlocks = 5, kThreads = 64;

template <LastBlockMistake mistake>
std::string run_last_block() {
  Buffer<float> x(kBlocks * kThreads), parts(kBlocks * kThreads), sum(kThreads);
  Buffer<uint32_t> tickets(1);
  for (uint32_t i = 0; i < kBlocks * kThreads; ++i) x.data()[i] = static_cast<float>(i);
  tickets.data()[0] = 0;
  const std::string result = outcome([&] {
    launch("last_block", sum_by_last_block<mistake>, {{kBlocks}, {kThreads}, 4}, nullptr, x.data(),
           parts.data(), tickets.data(), sum.data());
  });
  if (result == "ran") {
    for (uint32_t i = 0; i < kThreads; ++i)
      EXPECT_EQ(sum.data()[i], static_cast<float>(kBlocks * i + kThreads * 10));
  }
  return result;
}

TEST(Atomics, LastBlockSeesWhatOthersWroteBeforeTheirTickets) {
  for_seeds([] { EXPECT_EQ(run_last_block<LastBlockMistake::None>(), "ran"); });
}

TEST(Atomics, LastBlockWithoutFenceOrBarrierFailsForEverySeed) {
  for_seeds([] {
    EXPECT_THAT(run_last_block<LastBlockMistake::RelaxedTicket>(), HasSubstr("of another block"));
    EXPECT_THAT(run_last_block<LastBlockMistake::NoBarrierBeforeTicket>(), HasSubstr("race"));
    EXPECT_NE(run_last_block<LastBlockMistake::NoBarrierAfterTicket>(), "ran");
  });
}

template <class T, class Kernel>
std::string run_chain(Kernel kernel) {
  constexpr int32_t kLinks = 7;
  Buffer<T> ticket(1), turn(1), values(kLinks);
  ticket.data()[0] = turn.data()[0] = 0;
  const std::string result = outcome([&] {
    launch("chain", kernel, {{kLinks}, {1}, 0}, nullptr, ticket.data(), turn.data(), values.data());
  });
  if (result == "ran") {
    EXPECT_EQ(values.data()[kLinks - 1], kLinks * (kLinks - 1) / 2);
  }
  return result;
}

TEST(Atomics, FlagHandsOverFromBlockToBlock) {
  for_seeds([] {
    EXPECT_EQ(run_chain<int32_t>(chain<ChainMistake::None>), "ran");
    EXPECT_EQ(run_chain<int64_t>(chain_by_acquire), "ran");
  });
}

TEST(Atomics, FlagWithoutAFenceOnEitherSideFailsForEverySeed) {
  for_seeds([] {
    EXPECT_THAT(run_chain<int32_t>(chain<ChainMistake::NoReleaseFence>), HasSubstr("race: read"));
    EXPECT_THAT(run_chain<int32_t>(chain<ChainMistake::NoAcquireFence>), HasSubstr("race: read"));
    EXPECT_THAT(run_chain<int32_t>(chain<ChainMistake::NoWait>), HasSubstr("race"));
  });
}

TEST(Atomics, FlagThatNoOneSetsIsADeadlock) {
  Buffer<int32_t> flag(1);
  flag.data()[0] = 0;
  EXPECT_THAT(
      outcome([&] {
        launch("flag", wait_for_a_flag_that_no_one_sets, {{1}, {1}, 0}, nullptr, flag.data());
      }),
      HasSubstr("deadlock: 1 threads (first 0) wait for a flag that no one changes"));
}

TEST(Atomics, GlobalMemoryNeedsBarriersWithinABlock) {
  Buffer<int32_t> x(64);
  for_seeds([&] {
    EXPECT_EQ(outcome([&] {
                launch("reverse", reverse_in_global<true>, {{1}, {64}, 0}, nullptr, x.data());
              }),
              "ran");
    EXPECT_EQ(x.data()[0], 63);
    EXPECT_THAT(outcome([&] {
                  launch("reverse", reverse_in_global<false>, {{1}, {64}, 0}, nullptr, x.data());
                }),
                AnyOf(HasSubstr("race: read of 4 bytes"), HasSubstr("race: write of 4 bytes")));
  });
}

template <class T>
void expect_atomics() {
  for_seeds([] {
    Buffer<T> x(10);
    for (int i = 0; i < 10; ++i) x.data()[i] = T(10);
    launch("atomics", use_atomics<T>, {{1}, {64}, 5 * sizeof(T)}, nullptr, x.data());
    const T expected[] = {T(10 + 63 * 32), T(63), T(0), T(42), T(110)};
    for (int i = 0; i < 10; ++i) EXPECT_EQ(x.data()[i], expected[i % 5]) << i;
  });
}

TEST(Atomics, AddMaxMinExchangeCompareExchange) {
  expect_atomics<int32_t>();
  expect_atomics<uint32_t>();
  expect_atomics<int64_t>();
  expect_atomics<uint64_t>();
}

}  // namespace
}  // namespace plinth::device
