// Ranks that do not come, call something else, or give up: who waits is told, and never hangs.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/distributed/backends.h"

namespace plinth::distributed {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

class Failures : public testing::TestWithParam<Backend> {
 protected:
  // With a deadline that the test waits for.
  void run_short(const RankBody& body) {
    GetParam().run_with(3, {.name = "tp", .timeout = milliseconds(300)}, body);
  }
  void run(const RankBody& body) {
    GetParam().run_with(3, {.name = "tp", .timeout = std::chrono::seconds(10)}, body);
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, Failures, testing::ValuesIn(backends_of_ranks()), name_of);

std::string failure_of(const Work& work) {
  return error_of(ErrorKind::Io, [&] { work.wait(); });
}

// Keeps a rank's group alive until the others have seen what they wait for.
class Meet {
 public:
  explicit Meet(int ranks) : missing_(ranks) {}
  void come() {
    --missing_;
    while (missing_ > 0) std::this_thread::sleep_for(milliseconds(1));
  }

 private:
  std::atomic<int> missing_;
};

TEST_P(Failures, TheDeadlineNamesTheRanksThatDidNotCome) {
  Meet meet(3);
  run_short([&](ProcessGroup& group) {
    group.barrier().wait();
    if (group.rank() == 1) return meet.come();
    const auto start = steady_clock::now();
    const Work work = group.all_reduce(full({5}, 1));
    EXPECT_THAT(failure_of(work), AllOf(HasSubstr("all_reduce #2 of float32 [5]"),
                                        HasSubstr("group 'tp'"), HasSubstr("rank 1"),
                                        Not(AnyOf(HasSubstr("rank 0 ("), HasSubstr("rank 2 (")))));
    EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(5));
    EXPECT_TRUE(work.is_done());
    // And so again, at once, for ever.
    const auto later = steady_clock::now();
    EXPECT_THAT(failure_of(group.barrier()), AllOf(HasSubstr("barrier #3"), HasSubstr("rank 1")));
    EXPECT_THAT(failure_of(group.in_order([] {})), HasSubstr("rank 1"));
    EXPECT_LT(steady_clock::now() - later, milliseconds(200));
    meet.come();
  });
}

TEST_P(Failures, TheDeadlineOfAMessageNamesTheOther) {
  Meet meet(3);
  run_short([&](ProcessGroup& group) {
    group.barrier().wait();
    if (group.rank() == 0) {
      EXPECT_THAT(failure_of(group.recv(full({5}, 1), 2)),
                  AllOf(HasSubstr("recv of float32 [5] from rank 2"), HasSubstr("'tp'")));
    }
    meet.come();
  });
}

TEST_P(Failures, CallsThatDifferAreNamed) {
  const std::vector<std::pair<std::function<Work(ProcessGroup&)>, std::string>> calls = {
      {[](ProcessGroup& g) { return g.all_reduce(full({3}, 1)); }, "all_reduce #1 of float32 [3]"},
      {[](ProcessGroup& g) { return g.all_reduce(full({4}, 1)); }, "all_reduce #1 of float32 [4]"},
      {[](ProcessGroup& g) { return g.all_reduce(full({3}, 1), ReduceOp::Max); }, "by max"},
      {[](ProcessGroup& g) { return g.all_reduce(full({3}, 1, DType::Int32)); }, "int32"},
      {[](ProcessGroup& g) { return g.broadcast(full({3}, 1), 1); }, "broadcast #1"},
      {[](ProcessGroup& g) { return g.broadcast(full({3}, 1), 2); }, "from rank 2"},
      {[](ProcessGroup& g) { return g.barrier(); }, "barrier #1"}};
  for (size_t i = 0; i + 1 < calls.size(); ++i) {
    Meet meet(3);
    run([&](ProcessGroup& group) {
      const size_t own = group.rank() == 2 ? i + 1 : i;
      const std::string failure = failure_of(calls[own].first(group));
      // Rank 0 may have what it takes from a root.
      if (group.rank() > 0) {
        EXPECT_THAT(failure, AllOf(HasSubstr(calls[i].second), HasSubstr(calls[i + 1].second),
                                   HasSubstr("rank 2 called")));
      }
      meet.come();
    });
  }
}

TEST_P(Failures, AbortWakesWhoeverWaits) {
  Meet meet(3);
  run([&](ProcessGroup& group) {
    group.barrier().wait();
    std::jthread other;
    if (group.rank() == 0) {
      const Work first = group.all_reduce(full({5}, 1)), second = group.barrier();
      other = std::jthread([&] {
        std::this_thread::sleep_for(milliseconds(20));
        group.abort("the user wants to stop");
      });
      EXPECT_THAT(failure_of(first), HasSubstr("the user wants to stop"));
      EXPECT_THAT(failure_of(second), HasSubstr("the user wants to stop"));
    } else if (group.rank() == 1) {  // rank 2 does not come
      EXPECT_THAT(failure_of(group.all_reduce(full({5}, 1))), HasSubstr("rank 0"));
    }
    meet.come();
  });
}

TEST_P(Failures, AnAbortedGroupStaysSo) {
  Meet meet(3);
  run([&](ProcessGroup& group) {
    group.abort("first");
    group.abort("second");
    EXPECT_THAT(failure_of(group.barrier()), AllOf(HasSubstr("first"), Not(HasSubstr("second"))));
    meet.come();
  });
}

TEST_P(Failures, WhatWorkInOrderThrowsFailsTheGroup) {
  Meet meet(3);
  run([&](ProcessGroup& group) {
    if (group.rank() == 0) {
      const Work work =
          group.in_order([] { throw Error(ErrorKind::Argument, "sum", "is not what it was"); });
      EXPECT_THAT(error_of(ErrorKind::Argument, [&] { work.wait(); }), HasSubstr("sum"));
      EXPECT_THAT(failure_of(group.barrier()), HasSubstr("is not what it was"));
    } else {
      EXPECT_THAT(failure_of(group.barrier()), HasSubstr("rank 0"));
    }
    meet.come();
  });
}

TEST_P(Failures, ARankThatLeavesIsNotWaitedFor) {
  const auto start = steady_clock::now();
  run([&](ProcessGroup& group) {
    group.barrier().wait();
    if (group.rank() != 1) {
      EXPECT_THAT(failure_of(group.all_reduce(full({5}, 1))), HasSubstr("rank 1"));
    }
  });
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(20));
}

TEST_P(Failures, DestructionDoesNotWaitForOthers) {
  const auto start = steady_clock::now();
  Work left;
  run([&](ProcessGroup& group) {
    if (group.rank() == 0) left = group.all_reduce(full({5}, 1));
  });
  EXPECT_THAT(failure_of(left), HasSubstr("all_reduce #1"));
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(20));
}

TEST_P(Failures, AnErrorOfOneRankReachesTheCaller) {
  EXPECT_THAT(error_of(ErrorKind::Config,
                       [&] {
                         run([](ProcessGroup& group) {
                           if (group.rank() == 2) throw Error(ErrorKind::Config, "key", "is bad");
                           group.barrier().wait();
                         });
                       }),
              HasSubstr("key: is bad"));
}

}  // namespace
}  // namespace plinth::distributed
