#pragma once

#include <utility>

namespace plinth::io {

// Owns an open file, pipe or socket.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor() { close(); }

  int get() const { return fd_; }
  // False, with errno, if data written earlier could not be stored.
  bool close();

 private:
  int fd_ = -1;
};

}  // namespace plinth::io
