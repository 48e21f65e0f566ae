#include "data/tasks/labels.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "core/error.h"
#include "core/io/text.h"

namespace plinth {

Labels::Labels(std::vector<std::string> names, std::string_view subject)
    : names_(std::move(names)) {
  std::set<std::string_view> known;
  for (const std::string& name : names_) {
    // They go into JSON, in a model's config.json and in predictions.
    check(!first_invalid_utf8(name), ErrorKind::Format, subject, "name ", printable(name),
          ", which is not UTF-8");
    check(known.insert(name).second, ErrorKind::Format, subject, "name ", printable(name),
          " twice");
  }
}

Labels Labels::of(const std::vector<std::string>& seen) {
  const std::set<std::string> names(seen.begin(), seen.end());
  std::vector<std::string> numbered;
  for (size_t i = 0; i < names.size(); ++i) numbered.push_back("LABEL_" + std::to_string(i));
  const Labels numbers(std::move(numbered));
  const bool are_numbers = std::ranges::all_of(names, [&](const std::string& name) {
    const std::optional<int64_t> label = numbers.find(name);
    return label && std::to_string(*label) == name;
  });
  return are_numbers ? numbers : Labels({names.begin(), names.end()});
}

std::optional<int64_t> Labels::find(std::string_view text) const {
  const auto found = std::ranges::find(names_, text);
  if (found != names_.end()) return found - names_.begin();
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  return is_number && number >= 0 && number < size() ? std::optional(number) : std::nullopt;
}

}  // namespace plinth
