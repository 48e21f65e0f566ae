#pragma once

// --profile, --profile-steps and --nvtx: where a command's time goes.

#include <cstdint>
#include <memory>
#include <string>

#include "core/io/file.h"
#include "core/profile/profiler.h"

namespace CLI {
class App;
}

namespace plinth::apps {

struct ProfileOptions {
  std::string file;
  std::string steps = "2:4";
  bool nvtx = false;

  // `step` says what is counted: "training steps".
  void add_to(CLI::App& command, const std::string& step);
};

// The work of a command, observed as its options say until finish().
class ProfiledRun {
 public:
  // Counts the phases of that name. Throws Error(Argument) for options that are wrong, Error(Io)
  // for a file that cannot be written: before the work, not after it.
  ProfiledRun(const ProfileOptions& options, const std::string& step);
  ~ProfiledRun();
  ProfiledRun(const ProfiledRun&) = delete;
  ProfiledRun& operator=(const ProfiledRun&) = delete;

  // Writes the trace, and prints its table on standard error.
  void finish();

 private:
  ProfileOptions options_;
  std::unique_ptr<AtomicFile> file_;
  std::unique_ptr<Profiler> profiler_;
};

}  // namespace plinth::apps
