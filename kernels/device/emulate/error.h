#pragma once

#include <cstdint>
#include <stdexcept>

namespace plinth::emulate {

// The place of a call: std::source_location, which clang 14 does not have.
class Location {
 public:
  static constexpr Location current(const char* file = __builtin_FILE(),
                                    uint32_t line = __builtin_LINE()) {
    return {file, line};
  }
  constexpr const char* file_name() const { return file_; }
  constexpr uint32_t line() const { return line_; }

 private:
  constexpr Location(const char* file, uint32_t line) : file_(file), line_(line) {}
  const char* file_;
  uint32_t line_;
};

// A kernel did what the GPU forbids, or leaves undefined. The message names kernel, block, thread,
// what was done, and the line.
class KernelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace plinth::emulate
