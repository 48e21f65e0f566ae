#pragma once

// Reading files, and writing them so that a crash, a full disk or a signal leaves either the old
// content or the new, never a part. Every error is an Error(Io) that names the file, what was tried
// and the system's reason. Paths may be relative; a symbolic link is followed, not replaced.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The whole content. Refuses, with Error(Format), a file longer than max_bytes.
std::vector<std::byte> read_file(const std::filesystem::path& path,
                                 uint64_t max_bytes = UINT64_MAX);
std::string read_text_file(const std::filesystem::path& path, uint64_t max_bytes = UINT64_MAX);

// A regular file's content, mapped: pages are read when touched and shared between processes. The
// file must not be shortened while it is mapped; Plinth itself only ever replaces files.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  // Valid while this lives. Aligned to a page.
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

// Replaces or creates a file as a whole: written under a temporary name in the same directory,
// synced, renamed, and the directory synced. Not committed, it leaves the target as it was.
class AtomicFile {
 public:
  // Refuses a target that exists and is no regular file.
  explicit AtomicFile(const std::filesystem::path& target);
  AtomicFile(AtomicFile&&) noexcept;
  AtomicFile& operator=(AtomicFile&&) noexcept;
  ~AtomicFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(bytes_of(text)); }

  // Replaces bytes written before, such as a header that counts what follows it.
  void overwrite(uint64_t offset, std::span<const std::byte> bytes);

  // After it returns, the new content survives a loss of power. Called once, after the last write.
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// A log: grows at its end, one call a record. Created if it does not exist.
class AppendFile {
 public:
  explicit AppendFile(const std::filesystem::path& path);
  AppendFile(AppendFile&&) noexcept;
  AppendFile& operator=(AppendFile&&) noexcept;
  ~AppendFile();

  // Hands the whole record to the system, so that it outlives the process. If that fails, takes
  // back the part that was written, and throws.
  void append(std::string_view record);
  // After it returns, what was appended survives a loss of power.
  void sync();
  // Drops what lies beyond the first `size` bytes.
  void truncate(uint64_t size);
  uint64_t size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Removes what writers that were killed left in a directory. Only for a directory that nobody else
// writes to: see DirectoryLock.
void remove_partial_files(const std::filesystem::path& directory);

}  // namespace plinth
