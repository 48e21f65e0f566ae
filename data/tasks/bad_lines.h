#pragma once

// Lines of a file of examples that cannot be used: left out, counted and named, until there are too
// many.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace plinth {

class BadLines {
 public:
  // Of one file, or of several, whose lines count together.
  explicit BadLines(int64_t most = 100) : most_(most) {}

  // Leaves out a line, for a reason: "has 2 fields, the header has 3". Throws Error(Format) that
  // names the first one once there are more than `most`.
  void skip(const std::filesystem::path& file, int64_t line, std::string_view reason);

  int64_t count() const { return count_; }
  // "2 bad lines left out, the first train.csv:17: has 2 fields, the header has 3"; "" for none.
  std::string summary() const;

 private:
  int64_t most_;
  int64_t count_ = 0;
  std::string first_;
};

}  // namespace plinth
