#pragma once

#include <sys/types.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/io/file_descriptor.h"
#include "distributed/rendezvous.h"

namespace plinth::distributed {

// A process that was started, in a process group of its own: a terminal's Ctrl-C reaches it only
// through its parent. It dies with its parent. What it reads is empty, what it writes is read here.
class Child {
 public:
  struct Command {
    std::filesystem::path program;
    std::vector<std::string> arguments;  // the first names the program
    Variables variables;                 // all of them
    int keep_open = -1;                  // a descriptor that it inherits
  };

  // Throws Error(Io) if the system gives no process or pipe. A program that does not exist is an
  // exit status of 127 and a line on the standard error of the process.
  explicit Child(const Command& command);
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), streams_(std::move(other.streams_)) {}
  // Kills it, if it has not ended.
  ~Child();

  bool running() const { return pid_ > 0; }
  // To all of its process group.
  void signal(int number) const;
  // Whether a signal has stopped it, and it does not go on.
  bool stopped() const;
  // The status, as waitpid gives it, once it has ended. What it left running in its group is
  // killed.
  std::optional<int> reap();

  // Of its standard output and error; they do not block.
  const std::array<io::FileDescriptor, 2>& streams() const { return streams_; }
  void close_stream(int which) { streams_[which].close(); }

 private:
  pid_t pid_ = -1;
  std::array<io::FileDescriptor, 2> streams_;
};

}  // namespace plinth::distributed
