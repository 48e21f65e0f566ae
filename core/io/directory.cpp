#include "core/io/directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/system_calls.h"

namespace plinth {
namespace fs = std::filesystem;
using io::FileDescriptor;

namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

// Best effort, for the messages and for tidiness: a failure here changes nothing that was promised.
void remove_tree(const fs::path& directory) {
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(directory, error)) {
    if (!entry.is_directory(error) && !io::remove_file(entry.path())) return;
  }
  fs::remove_all(directory, error);
}

}  // namespace

void make_directories(const fs::path& directory) {
  std::error_code ignored;
  if (directory.empty() || fs::is_directory(directory, ignored)) return;
  make_directories(directory.parent_path());
  if (!io::make_directory(directory) &&
      (errno != EEXIST || !fs::is_directory(directory, ignored))) {
    io::throw_errno(directory, "create the directory");
  }
}

struct DirectoryLock::State {
  FileDescriptor fd;
};

DirectoryLock::DirectoryLock(const fs::path& directory) {
  const fs::path path = directory / ".lock";
  FileDescriptor fd = io::open_for_writing(path, O_RDWR | O_CREAT);
  if (fd.get() < 0) io::throw_errno(path, "open for writing");
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) io::throw_errno(path, "lock");
    std::string holder = read_text_file(path, 4096);
    if (holder.empty()) holder = "another process";
    throw Error(ErrorKind::Io, directory.string(), "is in use by " + holder);
  }
  const std::string holder = detail::concat("process ", ::getpid(), " on ", host_name());
  if (!io::truncate_file(fd.get(), 0) || !io::write_all(fd.get(), bytes_of(holder))) {
    io::throw_errno(path, "write");
  }
  state_.reset(new State{std::move(fd)});
}

DirectoryLock::DirectoryLock(DirectoryLock&&) noexcept = default;
DirectoryLock& DirectoryLock::operator=(DirectoryLock&&) noexcept = default;
DirectoryLock::~DirectoryLock() = default;

struct AtomicDirectory::State {
  fs::path target;
  fs::path partial;
  bool renamed = false;

  ~State() {
    if (!renamed) remove_tree(partial);
  }
};

AtomicDirectory::AtomicDirectory(const fs::path& target) {
  // "a/b/" names the same directory as "a/b", but has no file name to build the partial one from.
  const fs::path named = target.has_filename() ? target : target.parent_path();
  std::error_code ignored;
  check(!fs::exists(named, ignored) || fs::is_empty(named, ignored), ErrorKind::Io, named.string(),
        "exists already");
  const fs::path partial = io::partial_name(named);
  if (!io::make_directory(partial)) io::throw_errno(named, "create the directory");
  state_.reset(new State{named, partial});
}

AtomicDirectory::AtomicDirectory(const fs::path& target, const fs::path& shared)
    : state_(new State{target, shared}) {
  std::error_code ignored;
  check(fs::is_directory(shared, ignored), ErrorKind::Io, shared.string(), "is no directory");
  check(!fs::exists(target, ignored), ErrorKind::Io, target.string(), "exists already");
}

AtomicDirectory::AtomicDirectory(AtomicDirectory&&) noexcept = default;
AtomicDirectory& AtomicDirectory::operator=(AtomicDirectory&&) noexcept = default;
AtomicDirectory::~AtomicDirectory() = default;

const fs::path& AtomicDirectory::path() const {
  return state_->partial;
}

void AtomicDirectory::commit() {
  State& s = *state_;
  check(!s.renamed, ErrorKind::Io, s.target.string(), "was committed already");
  if (!io::sync_directory(s.partial)) io::throw_errno(s.target, "sync");
  if (!io::rename_path(s.partial, s.target)) io::throw_errno(s.target, "create the directory");
  s.renamed = true;
  const fs::path directory = io::directory_of(s.target);
  if (!io::sync_directory(directory)) io::throw_errno(directory, "sync");
}

fs::path make_shared_partial(const fs::path& target) {
  const std::string name = detail::concat(".", target.filename().string(), ".shared.partial");
  const fs::path partial = io::directory_of(target) / name;
  make_directories(partial);
  return partial;
}

void remove_directory_atomically(const fs::path& directory) {
  const fs::path partial = io::partial_name(directory);
  if (!io::rename_path(directory, partial)) io::throw_errno(directory, "remove");
  remove_tree(partial);
}

}  // namespace plinth
