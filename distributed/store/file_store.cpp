#include "distributed/store/file_store.h"

#include <algorithm>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "core/io/file_lock.h"
#include "distributed/store/value.h"

namespace plinth::distributed {

namespace fs = std::filesystem;

namespace {

constexpr Milliseconds kLockTimeout = std::chrono::minutes(1);

// File systems take names of up to 255 bytes; a writer's temporary name is longer by some thirty.
constexpr size_t kNamePart = 200;

// The bytes of a key as letters that any file system takes, the others as %XX.
std::string encoded(std::string_view key) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string name;
  for (const char letter : key) {
    if (plain.find(letter) != plain.npos) {
      name += letter;
    } else {
      const auto byte = static_cast<unsigned char>(letter);
      name += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return name;
}

// A long name becomes directories, marked by "+", and a file in them, marked by "=".
fs::path path_of(const fs::path& directory, std::string_view key) {
  const std::string name = encoded(key);
  fs::path path = directory;
  size_t begin = 0;
  for (; name.size() - begin > kNamePart; begin += kNamePart)
    path /= detail::concat("+", name.substr(begin, kNamePart));
  return path / detail::concat("=", name.substr(begin));
}

// A file that is removed between the look and the opening is no error.
std::optional<std::string> read_if_there(const fs::path& path) {
  for (int tries = 0;; ++tries) {
    std::error_code error;
    if (!fs::exists(path, error)) return std::nullopt;
    try {
      return read_text_file(path, kMaxValue);
    } catch (const Error&) {
      if (tries == 3) throw;
    }
  }
}

FileLock lock_directory(const fs::path& directory, std::string_view subject) {
  auto held = FileLock::acquire(directory / ".lock", kLockTimeout);
  check(held.has_value(), ErrorKind::Io, subject, "another process holds the lock ",
        (directory / ".lock").string(), "; waited ", seconds(kLockTimeout), " for it");
  return std::move(*held);
}

void write(const fs::path& path, std::string_view value) {
  make_directories(path.parent_path());
  write_file_atomically(path, value);
}

}  // namespace

FileStore::FileStore(fs::path directory)
    : directory_(std::move(directory)), subject_("store in " + directory_.string()) {
  check(!directory_.empty(), ErrorKind::Argument, "FileStore", "directory is empty");
  make_directories(directory_);
}

void FileStore::set(std::string_view key, std::string_view value) {
  check_key("set", key);
  check_value("set", key, value);
  const FileLock held = lock_directory(directory_, subject_);
  write(path_of(directory_, key), value);
}

std::string FileStore::get(std::string_view key, Milliseconds timeout) {
  check_key("get", key);
  check_timeout("get", timeout);
  const fs::path path = path_of(directory_, key);
  const auto deadline = deadline_after(timeout);
  for (Milliseconds pause(1);; pause = std::min(2 * pause, Milliseconds(50))) {
    if (std::optional<std::string> value = read_if_there(path)) return std::move(*value);
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) throw_no_key(subject_, key, timeout);
    std::this_thread::sleep_until(std::min(deadline, now + pause));
  }
}

std::optional<std::string> FileStore::try_get(std::string_view key) {
  check_key("try_get", key);
  return read_if_there(path_of(directory_, key));
}

int64_t FileStore::add(std::string_view key, int64_t amount) {
  check_key("add", key);
  const fs::path path = path_of(directory_, key);
  const FileLock held = lock_directory(directory_, subject_);
  const std::optional<int64_t> result = sum(read_if_there(path), amount);
  if (!result) throw_no_number(subject_, key, amount);
  write(path, std::to_string(*result));
  return *result;
}

bool FileStore::remove(std::string_view key) {
  check_key("remove", key);
  const FileLock held = lock_directory(directory_, subject_);
  std::error_code error;
  const bool removed = fs::remove(path_of(directory_, key), error);
  check(!error, ErrorKind::Io, subject_, "cannot remove a key: ", error.message());
  return removed;
}

}  // namespace plinth::distributed
