#pragma once

// Directories that one run owns, and directories that appear as a whole.

#include <filesystem>
#include <memory>

namespace plinth {

// Creates the directory and those above it that are missing.
void make_directories(const std::filesystem::path& directory);

// Holds a directory for one process, through flock on the file `.lock` in it. A second holder gets
// Error(Io) naming the process and host of the first. The kernel lets go when the process ends,
// however it ends; a `.lock` that is left behind holds nothing.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::filesystem::path& directory);
  DirectoryLock(DirectoryLock&&) noexcept;
  DirectoryLock& operator=(DirectoryLock&&) noexcept;
  ~DirectoryLock();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A directory that is whole or absent: filled under a temporary name beside the target, then
// renamed. A checkpoint is one. Not committed, it is removed.
class AtomicDirectory {
 public:
  // Refuses a target that exists, unless it is an empty directory.
  explicit AtomicDirectory(const std::filesystem::path& target);
  // Of a directory that several processes have filled: make_shared_partial() of the target.
  AtomicDirectory(const std::filesystem::path& target, const std::filesystem::path& shared);
  AtomicDirectory(AtomicDirectory&&) noexcept;
  AtomicDirectory& operator=(AtomicDirectory&&) noexcept;
  ~AtomicDirectory();

  // Where to put the files until then. Each must be synced, as AtomicFile does.
  const std::filesystem::path& path() const;

  // After it returns, the target survives a loss of power. Called once.
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Where several processes put the files of one directory, which one of them then commits: a name
// beside the target that is the same for all, and that remove_partial_files knows. Makes it unless
// another has.
std::filesystem::path make_shared_partial(const std::filesystem::path& target);

// Removes a directory such that a crash leaves it whole or, under the name of a partial file, not
// at all: see remove_partial_files.
void remove_directory_atomically(const std::filesystem::path& directory);

}  // namespace plinth
