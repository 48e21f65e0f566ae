// The launcher with shell scripts for ranks. tests/apps has it as users run it, with signals.

#include "distributed/launch/launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/io/file.h"
#include "distributed/launch/line_splitter.h"
#include "distributed/launch/token.h"
#include "distributed/rendezvous.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth::distributed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct Launched {
  int status = -1;
  std::map<int, std::vector<std::string>> output, errors;  // lines by rank
  std::vector<RankFailure> failures;
  std::vector<int> restarts;
  std::vector<std::string> warnings;
};

LaunchOptions script(const std::string& text, int processes = 2) {
  LaunchOptions options;
  options.program = "/bin/sh";
  options.arguments = {"sh", "-c", text};
  options.processes = processes;
  return options;
}

Launched launched(const LaunchOptions& options) {
  Launched result;
  LaunchEvents events;
  events.line = [&](int rank, bool is_error, std::string_view line) {
    (is_error ? result.errors : result.output)[rank].emplace_back(line);
  };
  events.failed = [&](const RankFailure& failure) { result.failures.push_back(failure); };
  events.restarting = [&](int restart) { result.restarts.push_back(restart); };
  events.warning = [&](const std::string& text) { result.warnings.push_back(text); };
  result.status = launch(options, events);
  return result;
}

TEST(Launcher, GivesRanksTheirVariables) {
  const Launched result = launched(
      script("echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $MASTER_ADDR $PLINTH_RESTART; "
             "echo $MASTER_PORT $PLINTH_RUN_ID $PLINTH_TOKEN; echo ${OMP_NUM_THREADS:-none} >&2; "
             "echo ${PLINTH_STORE_FD:+inherits}",
             3));
  EXPECT_EQ(result.status, 0);
  ASSERT_EQ(result.output.size(), 3);
  EXPECT_EQ(result.output.at(0)[0], "0/3 0/3 127.0.0.1 0");
  EXPECT_EQ(result.output.at(2)[0], "2/3 2/3 127.0.0.1 0");
  EXPECT_THAT(result.output.at(0)[1], testing::MatchesRegex("[0-9]+ [0-9a-f]+\\.0 [0-9a-f]+"));
  EXPECT_EQ(result.output.at(0)[1], result.output.at(1)[1]);
  EXPECT_EQ(result.output.at(0)[2], "inherits");
  EXPECT_EQ(result.output.at(1)[2], "");
  EXPECT_THAT(result.errors.at(1), ElementsAre(Not("none")));
}

// As one of its ranks this test meets the others; otherwise it launches itself.
TEST(Launcher, RanksFindEachOther) {
  if (const Rendezvous r = from_environment(); r.world_size > 1) {
    const auto store = make_store(r, std::chrono::seconds(20));
    store->set(std::to_string(r.rank), "here");
    for (int other = 0; other < r.world_size; ++other)
      EXPECT_EQ(store->get(std::to_string(other), std::chrono::seconds(20)), "here");
    // Rank 0 has the table, and ends last.
    if (store->add("done", 1) == r.world_size) store->set("all done", "");
    if (r.rank == 0) store->get("all done", std::chrono::seconds(20));
    return;
  }
  // Each rank runs the test, whichever of a program's shards this is.
  for (const char* variable : {"GTEST_TOTAL_SHARDS", "GTEST_SHARD_INDEX"}) ::unsetenv(variable);
  LaunchOptions options = script("", 3);
  options.program = "/proc/self/exe";
  options.arguments = {"rank", "--gtest_filter=Launcher.RanksFindEachOther"};
  const Launched result = launched(options);
  EXPECT_EQ(result.status, 0);
  for (const auto& [rank, lines] : result.output)
    EXPECT_THAT(lines, testing::Contains(HasSubstr("[  PASSED  ] 1 test."))) << rank;
  EXPECT_EQ(result.output.size(), 3);
}

TEST(Launcher, CountsRanksAcrossNodes) {
  LaunchOptions options = script(
      "echo $RANK/$WORLD_SIZE $LOCAL_RANK $MASTER_ADDR:$MASTER_PORT "
      "$PLINTH_TOKEN $PLINTH_RUN_ID${PLINTH_STORE_FD:+ inherits}");
  options.nodes = 3;
  options.node_rank = 1;
  options.master_address = "node0";
  options.master_port = 29500;
  options.token = "secret";
  options.run_id = "job";
  const Launched result = launched(options);
  EXPECT_THAT(result.output.at(2), ElementsAre("2/6 0 node0:29500 secret job.0"));
  EXPECT_THAT(result.output.at(3), ElementsAre("3/6 1 node0:29500 secret job.0"));
}

TEST(Launcher, GivesTheStatusOfTheFirstThatFails) {
  const Launched result =
      launched(script("[ $RANK = 1 ] && exit 7; trap 'echo told; exit 3' TERM; sleep 60 & wait"));
  EXPECT_EQ(result.status, 7);
  ASSERT_EQ(result.failures.size(), 1);
  EXPECT_EQ(result.failures[0].rank, 1);
  EXPECT_EQ(result.failures[0].signal, 0);
  EXPECT_TRUE(result.restarts.empty());
}

TEST(Launcher, KnowsASignalThatKilledARank) {
  const Launched result = launched(script("[ $RANK = 1 ] && kill -9 $$; sleep 60"));
  EXPECT_EQ(result.status, 128 + SIGKILL);
  ASSERT_EQ(result.failures.size(), 1);
  EXPECT_EQ(result.failures[0].rank, 1);
  EXPECT_EQ(result.failures[0].signal, SIGKILL);
}

TEST(Launcher, PassesASignalOnAndStartsNothingAgain) {
  LaunchOptions options = script("trap 'exit 9' TERM; kill -TERM $PPID; sleep 60 & wait", 1);
  options.max_restarts = 3;
  const Launched result = launched(options);
  EXPECT_EQ(result.status, 9);
  EXPECT_TRUE(result.failures.empty());
  EXPECT_TRUE(result.restarts.empty());
}

TEST(Launcher, LeavesASignalIgnoredThatWas) {
  const auto before = std::signal(SIGHUP, SIG_IGN);
  EXPECT_EQ(launched(script("kill -HUP $PPID; sleep 0.1")).status, 0);
  std::signal(SIGHUP, before);
}

TEST(Launcher, KillsRanksThatDoNotEndWhenTold) {
  LaunchOptions options =
      script("[ $RANK = 1 ] && exit 1; trap '' TERM; while :; do sleep 1; done");
  options.grace = Milliseconds(100);
  EXPECT_EQ(launched(options).status, 1);
}

TEST(Launcher, KillsAStoppedRankThatTheOthersHaveLeftBehind) {
  LaunchOptions options = script("[ $RANK = 0 ] || kill -STOP $$");
  options.grace = Milliseconds(100);
  const Launched result = launched(options);
  EXPECT_EQ(result.status, 128 + SIGKILL);
  ASSERT_EQ(result.failures.size(), 1);
  EXPECT_EQ(result.failures[0].rank, 1);
  EXPECT_THAT(result.warnings, ElementsAre(HasSubstr("rank 1 is stopped")));
}

TEST(Launcher, WaitsForAStoppedRankWhileAnotherRuns) {
  const TemporaryDirectory here;
  LaunchOptions options = script(
      "case $RANK in 1) echo $$ > $1; kill -STOP $$;; "
      "2) sleep 0.5; until [ -s $1 ]; do sleep 0.1; done; kill -CONT $(cat $1);; esac",
      3);
  for (const std::string& word : {std::string("sh"), (here / "pid").string()})
    options.arguments.push_back(word);
  options.grace = Milliseconds(100);
  const Launched result = launched(options);
  EXPECT_EQ(result.status, 0);
  EXPECT_TRUE(result.warnings.empty());
}

TEST(Launcher, StartsAllAgain) {
  LaunchOptions options = script(
      "echo run $PLINTH_RESTART ${PLINTH_RUN_ID##*.}; [ $PLINTH_RESTART = 2 ] || [ $RANK = 0 ] || "
      "exit 5");
  options.max_restarts = 3;
  const Launched result = launched(options);
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.restarts, ElementsAre(1, 2));
  EXPECT_THAT(result.output.at(1), ElementsAre("run 0 0", "run 1 1", "run 2 2"));
}

TEST(Launcher, GivesUpAfterTheLastRestart) {
  LaunchOptions options = script("exit 5");
  options.max_restarts = 2;
  const Launched result = launched(options);
  EXPECT_EQ(result.status, 5);
  EXPECT_THAT(result.restarts, ElementsAre(1, 2));
  EXPECT_EQ(result.failures.size(), 3);
}

TEST(Launcher, DoesNotRepeatAMistakeOfTheUsers) {
  LaunchOptions options = script("exit 2");
  options.max_restarts = 2;
  const Launched result = launched(options);
  EXPECT_EQ(result.status, 2);
  EXPECT_TRUE(result.restarts.empty());
}

TEST(Launcher, MergesLinesWhole) {
  const Launched result = launched(script(
      "i=0; while [ $i -lt 200 ]; do printf '%s' $RANK; printf ' %s\\n' $i; i=$((i+1)); done; "
      "printf 'no end'; printf '\\n\\nx' >&2",
      4));
  for (int rank = 0; rank < 4; ++rank) {
    const std::vector<std::string>& lines = result.output.at(rank);
    ASSERT_EQ(lines.size(), 201);
    for (int i = 0; i < 200; ++i) EXPECT_EQ(lines[i], detail::concat(rank, " ", i));
    EXPECT_EQ(lines.back(), "no end");
    EXPECT_THAT(result.errors.at(rank), ElementsAre("", "", "x"));
  }
}

TEST(Launcher, ReadsAllThatARankWroteBeforeItDied) {
  const Launched result = launched(
      script("head -c 300000 /dev/zero | tr '\\0' x; echo; echo last words; kill -9 $$", 1));
  EXPECT_EQ(result.output.at(0).back(), "last words");
  size_t bytes = 0;
  for (const std::string& line : result.output.at(0)) bytes += line.size();
  EXPECT_EQ(bytes, 300000 + 10);
}

// A process that ended counts as gone, whether or not somebody asked for its status.
bool lives(const std::string& pid) {
  const std::string file = detail::concat("/proc/", pid, "/status");
  return std::filesystem::exists(file) &&
         read_text_file(file).find("State:\tZ") == std::string::npos;
}

TEST(Launcher, WaitsForNothingThatARankLeftBehind) {
  const Launched result = launched(script("sleep 60 & echo $!", 1));
  EXPECT_EQ(result.status, 0);
  for (int tries = 0; tries < 1000 && lives(result.output.at(0)[0]); ++tries) ::usleep(1000);
  EXPECT_FALSE(lives(result.output.at(0)[0]));
}

TEST(Launcher, KeepsLogs) {
  const TemporaryDirectory here;
  LaunchOptions options = script("echo out $PLINTH_RESTART; echo err >&2; exit 1", 1);
  options.log_directory = here / "logs";
  options.max_restarts = 1;
  launched(options);
  EXPECT_EQ(read_text_file(here / "logs" / "rank-0.log").size(), 2 * 10);
  EXPECT_THAT(read_text_file(here / "logs" / "rank-0.log"),
              testing::AllOf(HasSubstr("out 0\n"), HasSubstr("out 1\n"), HasSubstr("err\n")));
}

TEST(Launcher, SaysThatAProgramIsMissing) {
  LaunchOptions options = script("", 1);
  options.program = "/nonexistent/plinth";
  const Launched result = launched(options);
  EXPECT_EQ(result.status, 127);
  EXPECT_THAT(result.errors.at(0)[0], HasSubstr("cannot start /nonexistent/plinth: No such file"));
}

TEST(Launcher, ChecksItsOptions) {
  const auto message = [](auto&& change) -> std::string {
    LaunchOptions options = script("exit 0");
    change(options);
    try {
      launched(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Argument);
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message([](auto& o) { o.processes = 0; }), HasSubstr("processes got 0"));
  EXPECT_THAT(message([](auto& o) { o.nodes = 0; }), HasSubstr("nodes got 0"));
  EXPECT_THAT(message([](auto& o) { o.node_rank = 1; }), HasSubstr("node_rank got 1"));
  EXPECT_THAT(message([](auto& o) { o.master_port = 65536; }), HasSubstr("master_port got 65536"));
  EXPECT_THAT(message([](auto& o) { o.max_restarts = -1; }), HasSubstr("max_restarts got -1"));
  EXPECT_THAT(message([](auto& o) { o.grace = Milliseconds(-1); }), HasSubstr("timeout got -1"));
  EXPECT_THAT(message([](auto& o) { o.arguments.clear(); }), HasSubstr("arguments"));
  EXPECT_THAT(message([](auto& o) { o.nodes = 2; }), HasSubstr("master_port got 0"));
  EXPECT_THAT(message([](auto& o) { o.nodes = 2, o.master_port = 1; }),
              HasSubstr("master_address"));
  EXPECT_THAT(message([](auto& o) { o.nodes = 2, o.master_port = 1, o.master_address = "a"; }),
              HasSubstr("token"));
}

TEST(SharedToken, IsMadeOnceForItsOwner) {
  const TemporaryDirectory here;
  const std::string token = shared_token(here / "token");
  EXPECT_EQ(token.size(), 32);
  EXPECT_EQ(shared_token(here / "token"), token);
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(here / "token").permissions(),
            perms::owner_read | perms::owner_write);
  write_file_atomically(here / "token", "given\n");
  EXPECT_EQ(shared_token(here / "token"), "given");
  write_file_atomically(here / "token", "");
  EXPECT_THROW(shared_token(here / "token"), Error);
}

TEST(LineSplitter, GivesALongLineInParts) {
  LineSplitter splitter;
  std::vector<std::string> lines;
  const auto emit = [&](std::string_view line) { lines.emplace_back(line); };
  const std::string part(1000, 'x');
  for (int i = 0; i < 200; ++i) splitter.push(part, emit);
  splitter.push("\nnext", emit);
  splitter.finish(emit);
  std::string joined;
  for (const std::string& line : lines) {
    EXPECT_LE(line.size(), LineSplitter::kMaxLine);
    joined += line;
  }
  EXPECT_EQ(lines.size(), 5);
  EXPECT_EQ(joined.size(), 200004);
  lines.clear();
  // Just as long as may be, with its end in the same portion and in the next one.
  const std::string full(LineSplitter::kMaxLine, 'y');
  splitter.push(full + "\nz", emit);
  splitter.push("\n", emit);
  EXPECT_THAT(lines, ElementsAre(full, "z"));
}

}  // namespace
}  // namespace plinth::distributed
