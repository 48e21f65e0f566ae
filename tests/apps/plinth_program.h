#pragma once

// Running the `plinth` program as a user does.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/io/file.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {

struct Outcome {
  int status = -1;  // of the exit, or 128 + signal
  std::string output;
  std::string errors;
};

// A process of the program, in a directory, whose output goes to files there.
class PlinthProcess {
 public:
  // The largest file that it may write, to stand for a full disk; 0: any.
  PlinthProcess(const std::filesystem::path& directory, std::vector<std::string> arguments,
                rlim_t largest_file = 0)
      : directory_(directory) {
    arguments.insert(arguments.begin(), PLINTH_PROGRAM);
    std::vector<char*> words;
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    if (::chdir(directory.c_str()) != 0) ::_exit(99);
    redirect("stdout.txt", STDOUT_FILENO);
    redirect("stderr.txt", STDERR_FILENO);
    if (largest_file > 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{largest_file, largest_file};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ::execv(words[0], words.data());
    ::_exit(99);
  }

  // Waits until the file holds something; false if that does not come about within a minute.
  static bool wait_until_written(const std::filesystem::path& file) {
    std::error_code none_yet;
    for (int tries = 0; tries < 60000; ++tries) {
      if (std::filesystem::exists(file, none_yet) && std::filesystem::file_size(file, none_yet) > 0)
        return true;
      ::usleep(1000);
    }
    return false;
  }

  pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }

  Outcome wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    Outcome outcome;
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    outcome.output = read_text_file(directory_ / "stdout.txt");
    outcome.errors = read_text_file(directory_ / "stderr.txt");
    return outcome;
  }

 private:
  static void redirect(const char* file, int to) {
    const int fd = ::open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || ::dup2(fd, to) < 0) ::_exit(99);
    ::close(fd);
  }

  std::filesystem::path directory_;
  pid_t pid_ = -1;
};

inline Outcome plinth_program(const std::filesystem::path& directory,
                              std::vector<std::string> arguments, rlim_t largest_file = 0) {
  return PlinthProcess(directory, std::move(arguments), largest_file).wait();
}

// The processes that a process has started and that still run.
inline std::vector<pid_t> children_of(pid_t parent) {
  const std::string id = std::to_string(parent);
  std::ifstream file("/proc/" + id + "/task/" + id + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; file >> child;) children.push_back(child);
  return children;
}

inline std::vector<std::string> joined(std::vector<std::string> words,
                                       const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Exactly one line on standard error that begins with "plinth: " and holds the text.
inline void expect_one_line(const Outcome& outcome, int status, const std::string& text) {
  EXPECT_EQ(outcome.status, status) << outcome.errors;
  EXPECT_THAT(outcome.errors, testing::StartsWith("plinth: "));
  EXPECT_THAT(outcome.errors, testing::HasSubstr(text));
  EXPECT_EQ(std::ranges::count(outcome.errors, '\n'), 1) << outcome.errors;
}

// A text of `lines` lines in which the next word is easy to learn.
inline std::string corpus(int lines) {
  const char* subjects[] = {"the cat", "a dog", "the old man", "my sister", "a bird"};
  const char* verbs[] = {"sees", "likes", "follows", "remembers"};
  const char* objects[] = {"the house", "a red ball", "the river", "an apple", "the moon", "rain"};
  std::string text;
  for (int i = 0; i < lines; ++i) {
    text += std::string(subjects[i * 7 % 5]) + " " + verbs[i * 11 % 4] + " " + objects[i * 13 % 6];
    text += i % 3 == 0 ? ".\n" : " and sleeps.\n";
  }
  return text;
}

// A directory with shards and a tokenizer in data/, and run.toml for a tiny model.
class Workplace : public TemporaryDirectory {
 public:
  explicit Workplace(const std::string& more_settings = "") {
    write_file_atomically(path() / "text.txt", corpus(600));
    const Outcome outcome = run({"tokenize", "text.txt", "--out", "data", "--train-vocab", "300",
                                 "--documents", "line", "--validation", "0.1", "--threads", "1"});
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    write_file_atomically(path() / "run.toml", std::string(kSettings) + more_settings);
  }

  Outcome run(std::vector<std::string> arguments, rlim_t largest_file = 0) const {
    return plinth_program(path(), std::move(arguments), largest_file);
  }
  // pretrain run.toml with these arguments, on one thread.
  Outcome pretrain(const std::vector<std::string>& more = {}, rlim_t largest_file = 0) const {
    return run(pretrain_arguments(more), largest_file);
  }
  // The same by so many ranks, each a process; by 0 without `plinth launch`.
  Outcome pretrain_on(int ranks, const std::vector<std::string>& more) const {
    if (ranks == 0) return pretrain(more);
    return run(
        joined({"launch", "--nproc", std::to_string(ranks), "--"}, pretrain_arguments(more)));
  }
  static std::vector<std::string> pretrain_arguments(const std::vector<std::string>& more) {
    return joined({"pretrain", "run.toml", "--threads", "1"}, more);
  }

 private:
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
[data]
train = ["data/train_*.bin"]
validation = ["data/validation_*.bin"]
tokenizer = "data"
[model]
layers = 1
dim = 16
heads = 2
context = 16
dropout = 0.1
[train]
steps = 12
batch = 8
micro_batch = 4
ema_decay = 0.9
[optimizer]
lr = 0.01
[schedule]
warmup_steps = 2
[validation]
every = 4
batches = 2
[checkpoint]
every = 4
keep_last = 3
[sample]
every = 6
prompt = "the cat"
tokens = 8
)";
};

}  // namespace plinth
