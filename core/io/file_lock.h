#pragma once

// A lock between processes, of one machine or of all that share a file system.

#include <chrono>
#include <filesystem>
#include <optional>
#include <utility>

#include "core/io/file_descriptor.h"

namespace plinth {

// Holds flock on a file, which is created if it does not exist and left behind. Two holders in one
// process exclude each other as well. The kernel lets go when the process ends, however it ends.
class FileLock {
 public:
  // Waits for the other holder; nothing if that takes longer. Error(Io) if the file cannot be
  // opened or locked at all.
  static std::optional<FileLock> acquire(const std::filesystem::path& path,
                                         std::chrono::milliseconds timeout);

 private:
  explicit FileLock(io::FileDescriptor fd) : fd_(std::move(fd)) {}

  io::FileDescriptor fd_;
};

}  // namespace plinth
