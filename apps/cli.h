#pragma once

// What the commands share: errors as one line, options that most of them take.

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/device.h"

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace plinth::apps {

// A run that a signal ended, after its checkpoint: exit status 130.
class Interrupted : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Ends the program with a status, all that there was to say having been said.
class ExitStatus : public std::exception {
 public:
  explicit ExitStatus(int status) : status_(status) {}
  int status() const { return status_; }
  const char* what() const noexcept override { return "exit"; }

 private:
  int status_;
};

// The text without line breaks.
std::string one_line(std::string text);

// What is wrong with the arguments, in one line: an unknown command or option with the nearest
// right one, or the parser's own words.
std::string explain(const CLI::App& program, const CLI::ParseError& error,
                    const std::vector<std::string>& arguments);

// --device and --threads.
struct DeviceOptions {
  std::string device = "cpu";
  int threads = 0;  // 0: all

  void add_to(CLI::App& command);
  // --threads alone, of a command that has no use for a GPU.
  void add_threads_to(CLI::App& command);
  // Sets the number of threads, and gives the device. One that this build or machine does not have
  // is replaced by the CPU, with a line on standard error that says so.
  Device apply() const;
};

// Prints "plinth: warning: text" on standard error.
void warn(const std::string& text);

}  // namespace plinth::apps
