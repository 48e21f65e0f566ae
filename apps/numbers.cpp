#include "apps/numbers.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "core/io/text.h"

namespace plinth::apps {

namespace {

template <class T>
std::string range_text(T least, T most) {
  const bool is_open = most == std::numeric_limits<T>::max() && !std::is_unsigned_v<T>;
  if (is_open) return detail::concat("at least ", least);
  return detail::concat("from ", least, " to ", most);
}

template <class T>
std::optional<T> parsed(const std::string& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// The message, and the range in the help, of what `takes` refuses.
CLI::Validator validator(std::function<bool(const std::string&)> takes, const std::string& kind,
                         const std::string& range) {
  const auto fault = [=](const std::string& input) -> std::string {
    if (takes(input)) return "";
    const char* const joint = range.starts_with("at least") ? " of " : " ";
    return detail::concat("got ", printable(input), ", takes ", kind, joint, range);
  };
  return {fault, range};
}

// The parser, which reads what has passed, takes a leading 0 for octal, and the nearest number for
// one that its type does not hold: what std::to_string would not write is refused.
template <class T>
CLI::Validator whole_number_of(T least, T most) {
  const auto takes = [least, most](const std::string& input) {
    const std::optional<T> value = parsed<T>(input);
    return value && std::to_string(*value) == input && *value >= least && *value <= most;
  };
  return validator(takes, "a whole number", range_text(least, most));
}

}  // namespace

CLI::Validator whole_number(int64_t least, int64_t most) {
  return whole_number_of(least, most);
}

CLI::Validator seed_number() {
  return whole_number_of<uint64_t>(0, UINT64_MAX);
}

CLI::Validator real_number(double least, double most) {
  const auto takes = [least, most](const std::string& input) {
    const std::optional<double> value = parsed<double>(input);
    return value && *value >= least && *value <= most;
  };
  return validator(takes, "a number", range_text(least, most));
}

CLI::Validator positive_number(double most) {
  const auto takes = [most](const std::string& input) {
    const std::optional<double> value = parsed<double>(input);
    return value && *value > 0 && *value <= most;
  };
  const bool is_open = most == std::numeric_limits<double>::max();
  return validator(takes, "a number",
                   is_open ? "above 0" : detail::concat("above 0, at most ", most));
}

CLI::Validator batch_size() {
  return whole_number(1, 1 << 24);
}

}  // namespace plinth::apps
