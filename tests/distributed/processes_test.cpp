// Ranks that are processes, of which one is killed or stopped.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace plinth::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Rank {
 public:
  Rank(const std::string& folder, int rank, int size, int timeout_ms) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) ADD_FAILURE() << "no pipe";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::vector<std::string> words = {PLINTH_GLOO_RANK, folder, std::to_string(rank),
                                      std::to_string(size), std::to_string(timeout_ms)};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    if (posix_spawn(&process_, PLINTH_GLOO_RANK, &actions, nullptr, arguments.data(), environ) != 0)
      ADD_FAILURE() << "cannot start " << PLINTH_GLOO_RANK;
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    out_ = fdopen(ends[0], "r");
  }
  ~Rank() {
    send(SIGKILL);
    waitpid(process_, nullptr, 0);
    fclose(out_);
  }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  void send(int signal) { kill(process_, signal); }
  // The next line that it prints; empty at its end.
  std::string line() {
    char text[4096] = "";
    return fgets(text, sizeof text, out_) ? text : "";
  }

 private:
  pid_t process_ = 0;
  FILE* out_ = nullptr;
};

class Processes : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/plinth_processes_XXXXXX";
    folder_ = mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // What two ranks print when the third, rank 1, is sent a signal.
  std::vector<std::string> after(int signal, int timeout_ms) {
    Rank first(folder_, 0, 3, timeout_ms), second(folder_, 1, 3, timeout_ms),
        third(folder_, 2, 3, timeout_ms);
    for (Rank* rank : {&first, &second, &third}) EXPECT_EQ(rank->line(), "ready\n");
    second.send(signal);
    return {first.line(), third.line()};
  }

  std::string folder_;
};

TEST_F(Processes, AKilledRankIsNamedAtOnce) {
  for (const std::string& line : after(SIGKILL, 60'000)) {
    EXPECT_THAT(
        line, AllOf(HasSubstr("all_reduce #"), HasSubstr("group 'dp'"), HasSubstr("lost rank 1")));
    EXPECT_LT(std::stoi(line), 20'000);
  }
}

TEST_F(Processes, AStoppedRankIsNamedAtTheDeadline) {
  for (const std::string& line : after(SIGSTOP, 1000)) {
    EXPECT_THAT(line, AllOf(HasSubstr("all_reduce #"), HasSubstr("group 'dp'"),
                            HasSubstr("waited 1000 ms for rank 1 (")));
    EXPECT_LT(std::stoi(line), 20'000);
  }
}

}  // namespace
}  // namespace plinth::distributed
