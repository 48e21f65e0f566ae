#pragma once

// Fuzz targets: each reads an input as one of Plinth's readers of files does. A bad input is to
// give Error, and nothing else: a crash, another exception, a hang or memory without bound is a
// finding.
//
//   PLINTH_FUZZ_TARGET(safetensors) {
//     touch(SafetensorsFile::parse(bytes_of(input), "input").data("weight"));
//   }
//
// libfuzzer.cpp makes a fuzzer of one target; replay_test.cpp runs the kept inputs through all.

#include <cstddef>
#include <exception>
#include <filesystem>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace plinth::fuzz {

struct Target {
  std::string_view name;
  void (*read)(std::string_view input);
};

// Those that the program has.
const std::vector<Target>& targets();
bool add_target(Target target);

// Reads an input. An Error is an answer; every other exception goes through.
void run(const Target& target, std::string_view input);

// Reads every byte, so that one outside its memory is noticed.
void touch(std::span<const std::byte> bytes);

// For what must hold of every input that was read: a finding unless it does.
inline void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

// What the reader itself wrote it must read: an Error of `read` is a finding.
template <class Read>
auto must_read(Read&& read) {
  try {
    return read();
  } catch (const Error& error) {
    throw std::logic_error(std::string("does not read what it wrote: ") + error.what());
  }
}

// An input's first byte, which chooses among the readers of a target, and the rest.
std::pair<char, std::string_view> take_kind(std::string_view input);

// Several files in one input: the parts between bytes of 0, which no text holds. The last part
// takes what is left.
std::vector<std::string_view> parts_of(std::string_view input, size_t parts);

// A folder for readers that take paths, below the system's folder of temporary files; it goes with
// the object.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::filesystem::path path() const { return path_; }
  // Writes a file, and gives its path.
  std::filesystem::path write(const std::string& name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

}  // namespace plinth::fuzz

#define PLINTH_FUZZ_TARGET(name)                                                 \
  static void read_##name(std::string_view input);                               \
  static const bool has_##name = plinth::fuzz::add_target({#name, read_##name}); \
  static void read_##name(std::string_view input)
