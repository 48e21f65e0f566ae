#pragma once

// The names of a classifier's labels, and the numbers that stand for them.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

class Labels {
 public:
  Labels() = default;
  // In the order of their numbers. Throws Error(Format, subject) for a name that comes twice, or
  // is not UTF-8.
  explicit Labels(std::vector<std::string> names, std::string_view subject = "labels");
  // Those that occur in a data set: LABEL_0, LABEL_1, ... where it has the numbers 0, 1, ..., else
  // the names themselves, in the order of their bytes.
  static Labels of(const std::vector<std::string>& seen);

  const std::vector<std::string>& names() const { return names_; }
  int64_t size() const { return static_cast<int64_t>(names_.size()); }
  const std::string& name(int64_t label) const { return names_.at(static_cast<size_t>(label)); }
  // Of a name or, where it is none, of a number in decimal.
  std::optional<int64_t> find(std::string_view text) const;

 private:
  std::vector<std::string> names_;
};

}  // namespace plinth
