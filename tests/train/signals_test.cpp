#include "train/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace plinth {
namespace {

TEST(StopSignals, FirstSignalOnlySetsTheFlag) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const StopSignals stop;
    EXPECT_FALSE(stop.requested());
    ::raise(signal);
    EXPECT_TRUE(stop.requested());
    EXPECT_EQ(stop.signal(), signal);
  }
  const StopSignals fresh;
  EXPECT_FALSE(fresh.requested());
}

// How a child process that does this ends: the signal that killed it, or 0.
template <class Work>
int killed_by(Work&& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(StopSignals, SecondSignalOfEitherKindKills) {
  for (const int second : {SIGINT, SIGTERM}) {
    EXPECT_EQ(killed_by([&] {
                const StopSignals stop;
                ::raise(SIGINT);
                ::raise(second);
              }),
              second);
  }
}

TEST(StopSignals, GivesTheSignalsBack) {
  EXPECT_EQ(killed_by([] {
              { const StopSignals stop; }
              ::raise(SIGTERM);
            }),
            SIGTERM);
}

TEST(StopSignals, LeavesAnIgnoredSignalIgnored) {
  EXPECT_EQ(killed_by([] {
              ::signal(SIGINT, SIG_IGN);
              const StopSignals stop;
              ::raise(SIGINT);
              if (stop.requested()) ::raise(SIGKILL);
            }),
            0);
}

TEST(StopSignals, SeveralSeeTheSameSignal) {
  EXPECT_EQ(killed_by([] {
              {
                const StopSignals first;
                { const StopSignals second; }
                ::raise(SIGINT);
                const StopSignals third;
                if (!first.requested() || !third.requested()) ::raise(SIGKILL);
              }
              ::raise(SIGTERM);
            }),
            SIGTERM);
}

}  // namespace
}  // namespace plinth
