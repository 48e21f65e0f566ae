#include "core/io/system_calls.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "core/error.h"
#include "core/io/file_faults.h"

namespace plinth::io {
namespace {

// Linux writes at most this much in one call.
constexpr size_t kMaxWrite = 0x7ffff000;

// False, with errno, if a test wants this call to fail.
bool allowed() {
  FileFaults* faults = FileFaults::active();
  if (faults == nullptr) return true;
  errno = faults->next(FileFaults::Call::Other, 0).error;
  return errno == 0;
}

template <class Call>
auto retry(Call&& call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

}  // namespace

bool FileDescriptor::close() {
  // Linux closes the descriptor whatever close returns; a second call could close another's.
  const int fd = std::exchange(fd_, -1);
  return fd < 0 || ::close(fd) == 0 || errno == EINTR;
}

FileDescriptor open_for_reading(const std::filesystem::path& path) {
  return FileDescriptor(retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
}

FileDescriptor open_for_writing(const std::filesystem::path& path, int flags) {
  if (!allowed()) return FileDescriptor();
  return FileDescriptor(retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); }));
}

ssize_t write_some(int fd, const void* data, size_t size) {
  size = std::min(size, kMaxWrite);
  if (FileFaults* faults = FileFaults::active()) {
    const FileFaults::Verdict verdict = faults->next(FileFaults::Call::Write, size);
    errno = verdict.error;
    if (errno != 0) return -1;
    size = verdict.bytes;
  }
  return retry([&] { return ::write(fd, data, size); });
}

bool truncate_file(int fd, off_t size) {
  return allowed() && retry([&] { return ::ftruncate(fd, size); }) == 0;
}

bool sync_file(int fd) {
  if (!allowed()) return false;
  // Some file systems and special files have no fsync; what they hold is as safe as they make it.
  return retry([&] { return ::fsync(fd); }) == 0 || errno == EINVAL || errno == ENOSYS;
}

bool sync_directory(const std::filesystem::path& directory) {
  const FileDescriptor fd = open_for_reading(directory);
  return fd.get() >= 0 && sync_file(fd.get());
}

bool rename_path(const std::filesystem::path& from, const std::filesystem::path& to) {
  return allowed() && std::rename(from.c_str(), to.c_str()) == 0;
}

bool remove_file(const std::filesystem::path& path) {
  return allowed() && ::unlink(path.c_str()) == 0;
}

bool make_directory(const std::filesystem::path& path) {
  return allowed() && ::mkdir(path.c_str(), 0777) == 0;
}

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write_some(fd, bytes.data(), bytes.size());
    if (written < 0) return false;
    if (written == 0) {
      errno = EIO;
      return false;
    }
    bytes = bytes.subspan(written);
  }
  return true;
}

void throw_errno(const std::filesystem::path& path, std::string_view action) {
  const std::string text = std::generic_category().message(errno);
  throw Error(ErrorKind::Io, path.string(), detail::concat("cannot ", action, ": ", text));
}

std::filesystem::path directory_of(const std::filesystem::path& path) {
  const std::filesystem::path directory = path.parent_path();
  return directory.empty() ? std::filesystem::path(".") : directory;
}

std::filesystem::path partial_name(const std::filesystem::path& target) {
  static std::atomic<uint64_t> count = 0;
  return directory_of(target) /
         detail::concat(".", target.filename().string(), ".", ::getpid(), "-", count++, ".partial");
}

}  // namespace plinth::io
