// What the simulated group tells that others cannot: who called what, and what it costs.

#include "distributed/simulated/simulated_group.h"

#include <gtest/gtest.h>

#include "distributed/self/self_group.h"
#include "tests/distributed/backends.h"

namespace plinth::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Simulated, TellsWhatARankCalledLast) {
  const SimulatedOptions options{.group = {.timeout = Milliseconds(50)}};
  const std::string message = error_of(ErrorKind::Io, [&] {
    run_ranks(
        2,
        [](ProcessGroup& group) {
          // Both send first, and so wait for ever.
          const Tensor x = full({4}, 1);
          const Work sent = group.send(x, 1 - group.rank());
          group.recv(Tensor::empty({4}), 1 - group.rank());
          sent.wait();
        },
        options);
  });
  EXPECT_THAT(message, AllOf(HasSubstr("send of float32 [4] to rank"),
                             HasSubstr("waited 50 ms for rank"), HasSubstr("last in send")));
}

TEST(Simulated, NamesPartsOfAllToAllThatDiffer) {
  EXPECT_THAT(error_of(ErrorKind::Io,
                       [&] {
                         run_ranks(2, [](ProcessGroup& group) {
                           const Tensor x = full({3}, 1), y = full({3}, 1);
                           const std::vector<int64_t> sent = {1, 2};
                           group.all_to_all(y, x, sent, sent).wait();
                         });
                       }),
              AllOf(HasSubstr("rank 0"), HasSubstr("2 elements for rank 1, which takes 1")));
}

TEST(Simulated, MessagesOfOtherSizesAreNamed) {
  EXPECT_THAT(error_of(ErrorKind::Io,
                       [&] {
                         run_ranks(2, [](ProcessGroup& group) {
                           const Tensor x = full({3 + group.rank()}, 1);
                           (group.rank() == 0 ? group.send(x, 1) : group.recv(x, 0)).wait();
                         });
                       }),
              AllOf(HasSubstr("rank 0 called send of float32 [3]"),
                    HasSubstr("rank 1 called recv of float32 [4]")));
}

TEST(Simulated, RefusesNoRanks) {
  EXPECT_THAT(error_of(ErrorKind::Argument, [] { run_ranks(0, [](ProcessGroup&) {}); }),
              HasSubstr("size got 0"));
  EXPECT_THAT(error_of(ErrorKind::Argument, [] { clock_of(*make_self_group()); }),
              HasSubstr("self"));
}

// ---- cost ----

constexpr double kLatency = 1e-3, kByte = 1e-6;

double seconds_of(int ranks, const RankBody& body) {
  const SimulatedOptions options{.cost = {.latency_seconds = kLatency, .seconds_per_byte = kByte}};
  double result = 0;
  run_ranks(
      ranks,
      [&](ProcessGroup& group) {
        body(group);
        if (group.rank() == 0) result = clock_of(group).seconds();
      },
      options);
  return result;
}

TEST(SimulatedCost, OfEachCollective) {
  const auto all_reduce = [](ProcessGroup& g) { g.all_reduce(full({300}, 1)).wait(); };
  EXPECT_DOUBLE_EQ(seconds_of(1, all_reduce), 0);
  EXPECT_DOUBLE_EQ(seconds_of(4, all_reduce), 6 * kLatency + 1800 * kByte);
  EXPECT_DOUBLE_EQ(
      seconds_of(4, [](ProcessGroup& g) { g.all_gather(full({400}, 1), full({100}, 1)).wait(); }),
      3 * kLatency + 1200 * kByte);
  EXPECT_DOUBLE_EQ(
      seconds_of(4,
                 [](ProcessGroup& g) { g.reduce_scatter(full({100}, 1), full({400}, 1)).wait(); }),
      3 * kLatency + 1200 * kByte);
  EXPECT_DOUBLE_EQ(
      seconds_of(4, [](ProcessGroup& g) { g.all_to_all(full({400}, 1), full({400}, 1)).wait(); }),
      3 * kLatency + 1200 * kByte);
  EXPECT_DOUBLE_EQ(seconds_of(5, [](ProcessGroup& g) { g.barrier().wait(); }), 3 * kLatency);
  const auto broadcast = [](int64_t n) {
    return [n](ProcessGroup& g) { g.broadcast(full({n}, 1), 0).wait(); };
  };
  EXPECT_DOUBLE_EQ(seconds_of(4, broadcast(1)), 2 * kLatency + 8 * kByte);
  EXPECT_DOUBLE_EQ(seconds_of(4, broadcast(10'000)), 5 * kLatency + 60'000 * kByte);
  EXPECT_DOUBLE_EQ(seconds_of(2,
                              [](ProcessGroup& g) {
                                const Tensor x = full({100}, 1);
                                (g.rank() == 0 ? g.recv(x, 1) : g.send(x, 0)).wait();
                              }),
                   kLatency + 400 * kByte);
}

TEST(SimulatedCost, ComputingHidesCollectives) {
  const double cost = 2 * kLatency + 400 * kByte;  // of an all_reduce of 100 elements by two
  const auto overlapped = [](double computing) {
    return [computing](ProcessGroup& g) {
      const Work work = g.all_reduce(full({100}, 1));
      clock_of(g).advance(computing);
      work.wait();
    };
  };
  EXPECT_DOUBLE_EQ(seconds_of(2, overlapped(1)), 1);
  EXPECT_DOUBLE_EQ(seconds_of(2, overlapped(1e-3)), cost);
}

TEST(SimulatedCost, ACollectiveBeginsWhenAllHaveCome) {
  EXPECT_DOUBLE_EQ(seconds_of(2,
                              [](ProcessGroup& g) {
                                clock_of(g).advance(g.rank());
                                g.barrier().wait();
                              }),
                   1 + kLatency);
  // Two at once follow each other; those of two groups do not.
  EXPECT_DOUBLE_EQ(seconds_of(2,
                              [](ProcessGroup& g) {
                                g.barrier();
                                g.barrier().wait();
                              }),
                   2 * kLatency);
}

TEST(SimulatedCost, GroupsShareARanksClock) {
  double both = 0;
  const SimulatedOptions options{.cost = {.latency_seconds = kLatency}};
  run_ranks(
      2,
      [&](ProcessGroup& g) {
        const auto part = g.split(0, 0, "part");
        const double start = clock_of(g).seconds();
        const Work first = g.barrier(), second = part->barrier();
        first.wait();
        second.wait();
        if (g.rank() == 0) both = clock_of(*part).seconds() - start;
      },
      options);
  EXPECT_DOUBLE_EQ(both, kLatency);
}

TEST(SimulatedCost, TimeDoesNotGoBack) {
  VirtualClock clock;
  EXPECT_THAT(error_of(ErrorKind::Argument, [&] { clock.advance(-1); }), HasSubstr("-1"));
  clock.advance_to(2);
  clock.advance_to(1);
  EXPECT_DOUBLE_EQ(clock.seconds(), 2);
}

}  // namespace
}  // namespace plinth::distributed
