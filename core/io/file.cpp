#include "core/io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/error.h"
#include "core/io/system_calls.h"

namespace plinth {
namespace fs = std::filesystem;
using io::FileDescriptor;

namespace {

FileDescriptor open_or_throw(const fs::path& path, struct stat& status) {
  FileDescriptor fd = io::open_for_reading(path);
  if (fd.get() < 0) io::throw_errno(path, "open");
  if (::fstat(fd.get(), &status) != 0) io::throw_errno(path, "read");
  check(!S_ISDIR(status.st_mode), ErrorKind::Io, path.string(), "is a directory, expected a file");
  return fd;
}

// Reads to the end rather than to the size: files of /proc say 0, and pipes have none.
template <class Container>
Container read_all(const fs::path& path, uint64_t max_bytes) {
  struct stat status;
  const FileDescriptor fd = open_or_throw(path, status);
  const auto check_size = [&](uint64_t size) {
    check(size <= max_bytes, ErrorKind::Format, path.string(), "has ",
          std::max<uint64_t>(size, status.st_size), " bytes, expected at most ", max_bytes);
  };
  check_size(status.st_size);
  Container content(static_cast<size_t>(status.st_size) + 1, {});
  for (size_t size = 0;;) {
    if (size == content.size()) content.resize(size * 2);
    const ssize_t got = ::read(fd.get(), content.data() + size, content.size() - size);
    if (got < 0 && errno != EINTR) io::throw_errno(path, "read");
    size += std::max<ssize_t>(got, 0);
    check_size(size);
    if (got == 0) {
      content.resize(size);
      return content;
    }
  }
}

// Where the content goes: behind a symbolic link if the target is one.
fs::path resolve_target(const fs::path& target) {
  std::error_code ignored;
  const fs::file_status status = fs::status(target, ignored);
  check(!fs::exists(status) || fs::is_regular_file(status), ErrorKind::Io, target.string(),
        "exists and is not a regular file");
  if (!fs::is_symlink(target, ignored)) return target;
  const fs::path resolved = fs::weakly_canonical(target, ignored);
  return ignored ? target : resolved;
}

}  // namespace

std::vector<std::byte> read_file(const fs::path& path, uint64_t max_bytes) {
  return read_all<std::vector<std::byte>>(path, max_bytes);
}

std::string read_text_file(const fs::path& path, uint64_t max_bytes) {
  return read_all<std::string>(path, max_bytes);
}

MappedFile::MappedFile(const fs::path& path) {
  struct stat status;
  const FileDescriptor fd = open_or_throw(path, status);
  check(S_ISREG(status.st_mode), ErrorKind::Io, path.string(), "is not a regular file");
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return;  // mmap refuses a length of 0
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) io::throw_errno(path, "map");
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

struct AtomicFile::State {
  fs::path target;
  fs::path partial;
  FileDescriptor fd;
  bool renamed = false;

  ~State() {
    fd.close();
    if (!renamed) io::remove_file(partial);
  }
};

AtomicFile::AtomicFile(const fs::path& target) {
  const fs::path resolved = resolve_target(target);
  const fs::path partial = io::partial_name(resolved);
  FileDescriptor fd = io::open_for_writing(partial, O_WRONLY | O_CREAT | O_EXCL);
  if (fd.get() < 0) io::throw_errno(target, "create");
  state_.reset(new State{resolved, partial, std::move(fd)});
}

AtomicFile::AtomicFile(AtomicFile&&) noexcept = default;
AtomicFile& AtomicFile::operator=(AtomicFile&&) noexcept = default;
AtomicFile::~AtomicFile() = default;

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (!io::write_all(state_->fd.get(), bytes)) io::throw_errno(state_->target, "write");
}

void AtomicFile::overwrite(uint64_t offset, std::span<const std::byte> bytes) {
  const int fd = state_->fd.get();
  const off_t end = ::lseek(fd, 0, SEEK_END);
  check(end >= 0 && bytes.size() <= static_cast<uint64_t>(end) &&
            offset <= static_cast<uint64_t>(end) - bytes.size(),
        ErrorKind::Argument, state_->target.string(), "overwrites bytes ", offset, " to ",
        offset + bytes.size(), " of ", end);
  if (::lseek(fd, static_cast<off_t>(offset), SEEK_SET) < 0 || !io::write_all(fd, bytes) ||
      ::lseek(fd, 0, SEEK_END) < 0) {
    io::throw_errno(state_->target, "write");
  }
}

void AtomicFile::commit() {
  State& s = *state_;
  check(!s.renamed, ErrorKind::Io, s.target.string(), "was committed already");
  if (!io::sync_file(s.fd.get())) io::throw_errno(s.target, "sync");
  if (!s.fd.close()) io::throw_errno(s.target, "close");
  if (!io::rename_path(s.partial, s.target)) io::throw_errno(s.target, "replace");
  s.renamed = true;
  const fs::path directory = io::directory_of(s.target);
  if (!io::sync_directory(directory)) io::throw_errno(directory, "sync");
}

void write_file_atomically(const fs::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  write_file_atomically(path, bytes_of(text));
}

struct AppendFile::State {
  fs::path path;
  FileDescriptor fd;
  uint64_t size = 0;
};

AppendFile::AppendFile(const fs::path& path) {
  FileDescriptor fd = io::open_for_writing(path, O_WRONLY | O_CREAT | O_APPEND);
  if (fd.get() < 0) io::throw_errno(path, "open for writing");
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) io::throw_errno(path, "read");
  state_.reset(new State{path, std::move(fd), static_cast<uint64_t>(status.st_size)});
}

AppendFile::AppendFile(AppendFile&&) noexcept = default;
AppendFile& AppendFile::operator=(AppendFile&&) noexcept = default;
AppendFile::~AppendFile() = default;

uint64_t AppendFile::size() const {
  return state_->size;
}

void AppendFile::append(std::string_view record) {
  if (!io::write_all(state_->fd.get(), bytes_of(record))) {
    const int reason = errno;
    io::truncate_file(state_->fd.get(), static_cast<off_t>(state_->size));
    errno = reason;
    io::throw_errno(state_->path, "write");
  }
  state_->size += record.size();
}

void AppendFile::sync() {
  if (!io::sync_file(state_->fd.get())) io::throw_errno(state_->path, "sync");
}

void AppendFile::truncate(uint64_t size) {
  if (size >= state_->size) return;
  if (!io::truncate_file(state_->fd.get(), static_cast<off_t>(size))) {
    io::throw_errno(state_->path, "truncate");
  }
  state_->size = size;
}

void remove_partial_files(const fs::path& directory) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(".") || !name.ends_with(".partial")) continue;
    std::error_code ignored;
    fs::remove_all(entry.path(), ignored);
  }
  check(!error, ErrorKind::Io, directory.string(), "cannot list: ", error.message());
}

}  // namespace plinth
