// Ranks that are killed and stopped at any moment, and start again.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

using testing::HasSubstr;

std::vector<std::string> settings(const std::string& run) {
  return {"train.micro_batch=2",  "train.steps=400",      "model.dim=32",
          "checkpoint.every=10",  "validation.every=400", "sample.every=0",
          "run.directory=" + run, "parallel.timeout_s=3", "parallel.zero=1"};
}

TEST(LaunchedPretrain, FiftyKilledAndStoppedRanksLeaveTheBitsOfAnUnbrokenRun) {
  const Workplace here;
  ASSERT_EQ(here.pretrain(settings("alone")).status, 0);

  std::vector<std::string> arguments = {"launch", "--nproc",   "2", "--max-restarts",
                                        "60",     "--timeout", "5", "--"};
  for (const std::string& word : Workplace::pretrain_arguments(settings("broken")))
    arguments.push_back(word);
  std::mt19937 random(11);
  int harmed = 0;
  std::string errors;
  // A run that ends before fifty is begun anew.
  while (harmed < 50) {
    std::filesystem::remove_all(here / "broken");
    PlinthProcess launcher(here.path(), arguments);
    bool ended = false;
    while (harmed < 50 && !ended) {
      const auto wait = std::chrono::milliseconds(std::uniform_int_distribution(50, 900)(random));
      std::this_thread::sleep_for(wait);
      const std::vector<pid_t> ranks = children_of(launcher.pid());
      if (ranks.size() == 2) {
        // Of five that are stopped three are the first, in whose process ranks meet.
        if (++harmed % 10 == 0)
          ::kill(ranks[harmed / 10 % 2 == 0], SIGSTOP);
        else
          ::kill(ranks[random() % 2], SIGKILL);
      }
      siginfo_t info{};
      ended = ::waitid(P_PID, static_cast<id_t>(launcher.pid()), &info,
                       WEXITED | WNOHANG | WNOWAIT) == 0 &&
              info.si_pid != 0;
    }
    const Outcome outcome = launcher.wait();
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
    errors += outcome.errors;
  }
  EXPECT_THAT(errors, HasSubstr("was killed by signal 9"));
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "ema.safetensors"}) {
    EXPECT_EQ(read_text_file(here / "broken" / "step-000400" / file),
              read_text_file(here / "alone" / "step-000400" / file))
        << file;
  }
}

}  // namespace
}  // namespace plinth
