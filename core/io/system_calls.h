#pragma once

// The system calls of the file layer. Only core/io includes this: whatever writes files goes
// through these, so that FileFaults can make each of them fail.

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "core/io/file_descriptor.h"

namespace plinth::io {

// Each does one system call, again if a signal interrupts it, and returns false (or -1) with errno.
// The calls that change the disk are the ones that FileFaults counts.
FileDescriptor open_for_reading(const std::filesystem::path& path);
FileDescriptor open_for_writing(const std::filesystem::path& path, int flags);
ssize_t write_some(int fd, const void* data, size_t size);
bool truncate_file(int fd, off_t size);
bool sync_file(int fd);
bool sync_directory(const std::filesystem::path& directory);
bool rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
bool remove_file(const std::filesystem::path& path);
bool make_directory(const std::filesystem::path& path);

// Writes all bytes, in as many calls as it takes.
bool write_all(int fd, std::span<const std::byte> bytes);

// Throws Error(Io, path, "cannot <action>: <text of errno>").
[[noreturn]] void throw_errno(const std::filesystem::path& path, std::string_view action);

// The directory that holds the path: "." for a bare name.
std::filesystem::path directory_of(const std::filesystem::path& path);

// A name beside the target that no other writer uses, and that remove_partial_files knows.
std::filesystem::path partial_name(const std::filesystem::path& target);

}  // namespace plinth::io
