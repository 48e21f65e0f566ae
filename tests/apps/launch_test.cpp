// plinth launch, as a user runs it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::vector<std::string> launch(std::vector<std::string> options,
                                const std::vector<std::string>& command) {
  options.insert(options.begin(), "launch");
  options.emplace_back("--");
  options.insert(options.end(), command.begin(), command.end());
  return options;
}

std::vector<std::string> sorted_lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  std::ranges::sort(lines);
  return lines;
}

// A run that goes on until it is stopped, and writes a checkpoint every few steps.
std::vector<std::string> endless_run() {
  return Workplace::pretrain_arguments(
      {"train.steps=1000000", "checkpoint.every=5", "validation.every=0", "sample.every=0"});
}

bool lives(pid_t process) {
  std::ifstream status(detail::concat("/proc/", process, "/status"));
  const std::string text(std::istreambuf_iterator<char>(status), {});
  return !text.empty() && text.find("State:\tZ") == std::string::npos;
}

// Until a checkpoint is there.
bool wait_for_checkpoint(const fs::path& run) {
  for (int tries = 0; tries < 60000; ++tries) {
    if (fs::exists(run)) {
      for (const auto& entry : fs::directory_iterator(run))
        if (entry.path().filename().string().starts_with("step-")) return true;
    }
    ::usleep(1000);
  }
  return false;
}

TEST(Launch, PrefixesEachLineWithItsRank) {
  const TemporaryDirectory here;
  const Outcome outcome =
      plinth_program(here.path(), launch({"--nproc", "3", "--log-dir", "logs"}, {"--version"}));
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_THAT(sorted_lines(outcome.output),
              testing::ElementsAre(StartsWith("[rank 0] plinth "), StartsWith("[rank 1] plinth "),
                                   StartsWith("[rank 2] plinth ")));
  EXPECT_EQ(outcome.errors, "");
  EXPECT_THAT(read_text_file(here / "logs/rank-2.log"), StartsWith("plinth "));
}

TEST(Launch, HasTheStatusOfTheRankThatFailed) {
  const TemporaryDirectory here;
  const Outcome outcome =
      plinth_program(here.path(), launch({"--nproc", "2", "--max-restarts", "3"}, {"pretrain"}));
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.errors,
              AllOf(HasSubstr("] plinth: "), HasSubstr("takes a configuration file"),
                    HasSubstr("ended with status 2; stopping the others"),
                    Not(HasSubstr("starting again"))));
}

TEST(Launch, ExplainsWhatIsWrongWithItsWords) {
  const TemporaryDirectory here;
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"launch"}, "command is required"},
      {launch({"--nproc", "0"}, {"--version"}), "--nproc"},
      {launch({"--nprocs", "2"}, {"pretrain"}), "did you mean '--nproc'?"},
      {launch({}, {"launch", "--nproc", "2"}), "another command than launch"},
      {launch({"--nnodes", "2"}, {"--version"}), "--master-addr"},
      {launch({"--nnodes", "2", "--master-addr", "a", "--master-port", "1"}, {"--version"}),
       "--token-file"},
      {launch({"--node-rank", "1"}, {"--version"}), "node_rank got 1"}};
  for (const auto& [arguments, message] : cases) {
    const Outcome outcome = plinth_program(here.path(), arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.errors;
    EXPECT_THAT(outcome.errors, AllOf(StartsWith("plinth: "), HasSubstr(message)));
    EXPECT_EQ(std::ranges::count(outcome.errors, '\n'), 1) << outcome.errors;
  }
}

// The signal reaches the rank, which writes its checkpoint.
TEST(Launch, PassesASignalOn) {
  const Workplace here;
  PlinthProcess running(here.path(), launch({"--max-restarts", "5"}, endless_run()));
  ASSERT_TRUE(wait_for_checkpoint(here / "run"));
  running.signal(SIGTERM);
  const Outcome outcome = running.wait();
  EXPECT_EQ(outcome.status, 130) << outcome.errors;
  EXPECT_THAT(outcome.errors, AllOf(HasSubstr("[rank 0] plinth: stopped after step"),
                                    Not(HasSubstr("starting again"))));
}

TEST(Launch, StartsAgainFromTheLastCheckpoint) {
  const Workplace here;
  PlinthProcess running(here.path(), launch({"--max-restarts", "1"}, endless_run()));
  ASSERT_TRUE(wait_for_checkpoint(here / "run"));
  const std::vector<pid_t> first = children_of(running.pid());
  ASSERT_EQ(first.size(), 1);
  ::kill(first[0], SIGKILL);
  std::vector<pid_t> second;
  for (int tries = 0; tries < 60000 && (second.empty() || second == first); ++tries) {
    ::usleep(1000);
    second = children_of(running.pid());
  }
  ASSERT_EQ(second.size(), 1);
  // It is past the first steps, so that it has read the checkpoint.
  while (read_text_file(here / "stdout.txt").find("resumed after step") == std::string::npos) {
    ASSERT_TRUE(lives(second[0])) << read_text_file(here / "stderr.txt");
    ::usleep(1000);
  }
  ::kill(second[0], SIGKILL);
  const Outcome outcome = running.wait();
  EXPECT_EQ(outcome.status, 128 + SIGKILL);
  EXPECT_THAT(outcome.errors, AllOf(HasSubstr("plinth: rank 0 was killed by signal 9 (Killed)\n"),
                                    HasSubstr("plinth: starting again, 1 of 1\n")));
}

TEST(Launch, NoRankOutlivesIt) {
  const Workplace here;
  PlinthProcess running(here.path(), launch({}, endless_run()));
  ASSERT_TRUE(wait_for_checkpoint(here / "run"));
  const std::vector<pid_t> ranks = children_of(running.pid());
  ASSERT_EQ(ranks.size(), 1);
  running.signal(SIGKILL);
  running.wait();
  for (int tries = 0; tries < 10000 && lives(ranks[0]); ++tries) ::usleep(1000);
  EXPECT_FALSE(lives(ranks[0]));
}

}  // namespace
}  // namespace plinth
