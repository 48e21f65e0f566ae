// One rank of a group of processes that takes two training steps, for tests of its memory.
//
//   memory_rank KEY=VALUE ...
//
// Joins the world that its environment tells of, and prints the bytes of StepPeaks.

#include <cstdio>
#include <exception>

#include "distributed/world.h"
#include "tests/train/real_step.h"

int main(int count, char** words) {
  using namespace plinth;
  try {
    const auto world =
        distributed::join_world(distributed::from_environment(), {}, std::chrono::seconds(60));
    const StepPeaks peaks = real_step({words + 1, words + count}, world);
    std::printf("%lld %lld %lld %lld\n", static_cast<long long>(peaks.setup),
                static_cast<long long>(peaks.first), static_cast<long long>(peaks.before),
                static_cast<long long>(peaks.second));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "memory_rank: %s\n", error.what());
    return 1;
  }
}
